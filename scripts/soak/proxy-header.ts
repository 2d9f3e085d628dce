/** The headers of the PROXY protocol that a soak sends and reads: TCP over IPv4 alone. */

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** A header of version 1 for a client with this address, `host:port`. */
export function proxyHeaderFor(client: string): string {
  const [host, port] = client.split(':');
  return `PROXY TCP4 ${host} 198.51.100.1 ${port} 443\r\n`;
}

/** The header at the beginning, of either version: how long it is and whose connection it says this to be; null: not whole yet. */
export function takeProxyHeader(data: Buffer): { length: number; client: string | null } | null {
  if (data.length < 16) return null;
  if (data.subarray(0, 12).equals(SIGNATURE)) {
    const length = 16 + data.readUInt16BE(14);
    if (data.length < length) return null;
    // TCP over IPv4: four bytes each of addresses, two each of ports.
    const client = data[13] === 0x11 ? `${data.subarray(16, 20).join('.')}:${data.readUInt16BE(24)}` : null;
    return { length, client };
  }
  const end = data.indexOf('\r\n');
  if (end === -1) return data.length > 107 ? { length: 0, client: 'no header' } : null;
  const [, , host, , port] = data.toString('latin1', 0, end).split(' ');
  return { length: end + 2, client: port === undefined ? null : `${host}:${port}` };
}
