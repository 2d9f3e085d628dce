/** What of libssl the handshakes call. All that is passed is words; see library.ts. */
import { openFunctions } from '../../../sys/library.ts';

/** What SSL_CTX_ctrl is to do. */
export const SSL_CTRL_SET_MIN_PROTO_VERSION = 123n;
/** What SSL_CTX_ctrl is to do. */
export const SSL_CTRL_SET_MAX_PROTO_VERSION = 124n;
/** What SSL_CTX_ctrl is to do: 0 for no cache. */
export const SSL_CTRL_SET_SESS_CACHE_MODE = 44n;
/** Compression tells of what is secret (CRIME). */
export const SSL_OP_NO_COMPRESSION: bigint = 1n << 17n;
/** Verification parameters: nothing changes them any more. */
export const X509_VP_FLAG_LOCKED = 8n;
/** What SSL_CTX_ctrl and SSL_ctrl are to do. */
export const SSL_CTRL_SET_GROUPS_LIST = 92n;
/** Sent and received: no alert is due, and the session stays good for others. */
const BOTH_SHUT_DOWN = 3n;

const w0 = [] as const;
const w1 = ['word'] as const;
const w2 = ['word', 'word'] as const;
const w3 = ['word', 'word', 'word'] as const;
const w5 = ['word', 'word', 'word', 'word', 'word'] as const;
const w4 = ['word', 'word', 'word', 'word'] as const;

const table = {
  TLS_server_method: { args: w0, result: 'u64' },
  TLS_client_method: { args: w0, result: 'u64' },
  SSL_CTX_new: { args: w1, result: 'u64' },
  SSL_CTX_free: { args: w1, result: 'i32' },
  SSL_CTX_ctrl: { args: w4, result: 'i64' },
  SSL_CTX_set_options: { args: w2, result: 'u64' },
  SSL_CTX_set_cipher_list: { args: w2, result: 'i32' },
  SSL_CTX_set_ciphersuites: { args: w2, result: 'i32' },
  SSL_CTX_set_session_id_context: { args: w3, result: 'i32' },
  SSL_CTX_set_timeout: { args: w2, result: 'i64' },
  SSL_CTX_set_num_tickets: { args: w2, result: 'i32' },
  SSL_CTX_get_ciphers: { args: w1, result: 'u64' },
  SSL_CTX_use_certificate: { args: w2, result: 'i32' },
  SSL_CTX_use_PrivateKey: { args: w2, result: 'i32' },
  SSL_CTX_check_private_key: { args: w1, result: 'i32' },
  SSL_CTX_set_keylog_callback: { args: w2, result: 'i32' },
  SSL_CTX_set_verify: { args: w3, result: 'i32' },
  SSL_CTX_set_alpn_protos: { args: w3, result: 'i32' },
  SSL_CTX_set1_cert_store: { args: w2, result: 'i32' },
  X509_STORE_new: { args: w0, result: 'u64' },
  X509_STORE_free: { args: w1, result: 'i32' },
  X509_STORE_add_cert: { args: w2, result: 'i32' },
  SSL_CTX_set_client_hello_cb: { args: w3, result: 'i32' },
  SSL_set_SSL_CTX: { args: w2, result: 'u64' },
  SSL_get0_alpn_selected: { args: w3, result: 'i32' },
  SSL_set_alpn_protos: { args: w3, result: 'i32' },
  SSL_new: { args: w1, result: 'u64' },
  SSL_free: { args: w1, result: 'i32' },
  SSL_set_bio: { args: w3, result: 'i32' },
  SSL_set_accept_state: { args: w1, result: 'i32' },
  SSL_set_connect_state: { args: w1, result: 'i32' },
  SSL_read: { args: w3, result: 'i32' },
  SSL_write: { args: w3, result: 'i32' },
  SSL_do_handshake: { args: w1, result: 'i32' },
  SSL_get_error: { args: w2, result: 'i32' },
  SSL_set_shutdown: { args: w2, result: 'i32' },
  SSL_ctrl: { args: w4, result: 'i64' },
  SSL_version: { args: w1, result: 'i32' },
  SSL_get_current_cipher: { args: w1, result: 'u64' },
  SSL_CIPHER_get_id: { args: w1, result: 'u64' },
  SSL_CIPHER_standard_name: { args: w1, result: 'u64' },
  SSL_get_session: { args: w1, result: 'u64' },
  SSL_get1_session: { args: w1, result: 'u64' },
  SSL_set_session: { args: w2, result: 'i32' },
  SSL_SESSION_dup: { args: w1, result: 'u64' },
  SSL_SESSION_free: { args: w1, result: 'i32' },
  SSL_SESSION_get_max_fragment_length: { args: w1, result: 'i32' },
  SSL_SESSION_is_resumable: { args: w1, result: 'i32' },
  SSL_SESSION_get0_ticket: { args: w3, result: 'i32' },
  SSL_SESSION_get_ticket_lifetime_hint: { args: w1, result: 'u64' },
  SSL_SESSION_set1_ticket_appdata: { args: w3, result: 'i32' },
  SSL_SESSION_get0_ticket_appdata: { args: w3, result: 'i32' },
  SSL_get0_verified_chain: { args: w1, result: 'u64' },
  X509_get0_notAfter: { args: w1, result: 'u64' },
  ASN1_TIME_diff: { args: w4, result: 'i32' },
  SSL_SESSION_get_master_key: { args: w3, result: 'u64' },
  SSL_get_client_random: { args: w3, result: 'u64' },
  SSL_get_server_random: { args: w3, result: 'u64' },
  SSL_get_verify_result: { args: w1, result: 'i64' },
  SSL_get1_peer_certificate: { args: w1, result: 'u64' },
  SSL_get_rbio: { args: w1, result: 'u64' },
  SSL_get_wbio: { args: w1, result: 'u64' },
  SSL_shutdown: { args: w1, result: 'i32' },
  SSL_get0_param: { args: w1, result: 'u64' },
  SSL_get_servername: { args: w2, result: 'u64' },
  X509_VERIFY_PARAM_set_inh_flags: { args: w2, result: 'i32' },
  X509_VERIFY_PARAM_get0_host: { args: w2, result: 'u64' },
  BIO_new: { args: w1, result: 'u64' },
  BIO_new_mem_buf: { args: w2, result: 'u64' },
  BIO_s_mem: { args: w0, result: 'u64' },
  BIO_free: { args: w1, result: 'i32' },
  BIO_write: { args: w3, result: 'i32' },
  BIO_read: { args: w3, result: 'i32' },
  PEM_read_bio_X509: { args: w4, result: 'u64' },
  PEM_read_bio_PrivateKey: { args: w4, result: 'u64' },
  X509_check_host: { args: w5, result: 'i32' },
  X509_check_ip_asc: { args: w3, result: 'i32' },
  X509_verify_cert_error_string: { args: w1, result: 'u64' },
  X509_free: { args: w1, result: 'i32' },
  EVP_PKEY_free: { args: w1, result: 'i32' },
  ERR_peek_last_error: { args: w0, result: 'u64' },
  ERR_clear_error: { args: w0, result: 'i32' },
  ERR_reason_error_string: { args: w1, result: 'u64' },
  SSL_CTX_set0_tmp_dh_pkey: { args: w2, result: 'i32' },
  PEM_read_bio_Parameters: { args: w2, result: 'u64' },
  SSL_CTX_add_client_CA: { args: w2, result: 'i32' },
  SSL_session_reused: { args: w1, result: 'i32' },
  SSL_get_certificate: { args: w1, result: 'u64' },
  X509_get_subject_name: { args: w1, result: 'u64' },
  X509_get_signature_nid: { args: w1, result: 'i32' },
  X509_get0_pubkey: { args: w1, result: 'u64' },
  X509_NAME_get_index_by_NID: { args: w3, result: 'i32' },
  X509_NAME_get_entry: { args: w2, result: 'u64' },
  X509_NAME_ENTRY_get_data: { args: w1, result: 'u64' },
  EVP_PKEY_get_base_id: { args: w1, result: 'i32' },
  EVP_PKEY_get_bits: { args: w1, result: 'i32' },
  ASN1_STRING_to_UTF8: { args: w2, result: 'i32' },
  i2d_SSL_SESSION: { args: w2, result: 'i32' },
  CRYPTO_malloc: { args: w3, result: 'u64' },
  CRYPTO_clear_free: { args: w4, result: 'i32' },
  CRYPTO_free: { args: w3, result: 'i32' },
  CRYPTO_memdup: { args: w4, result: 'u64' },
  OPENSSL_cleanse: { args: w2, result: 'i32' },
  OPENSSL_sk_num: { args: w1, result: 'i32' },
  OPENSSL_sk_value: { args: w2, result: 'u64' },
  malloc_usable_size: { args: w1, result: 'u64' },
  memcpy: { args: w3, result: 'u64' },
  strlen: { args: w1, result: 'u64' },
  dlsym: { args: w2, result: 'u64' },
} as const;

/** libssl, as the calling thread has it. */
export type Ssl = ReturnType<typeof openSsl>;

/** Free what libssl has of a handshake, or of the connection that came of it: nothing is sent, its session stays good, and no error is left. */
export function freeSsl(ssl: Ssl, handle: bigint): void {
  ssl.SSL_set_shutdown(handle, BOTH_SHUT_DOWN);
  ssl.SSL_free(handle);
  ssl.ERR_clear_error();
}

/** Bind what handshakes need, for the calling thread. Throws where the runtime has no OpenSSL that can be called. */
export function openSsl() {
  return openFunctions(table).functions;
}
