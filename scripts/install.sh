#!/bin/sh
# Installs grace, or another version of it in its place:
#
#     curl -fsSL URL/install.sh | sh
#     curl -fsSL URL/install.sh | sh -s -- --version 0.1.0 --prefix /opt
#
# Everything is in functions that the last line calls, so that half a script does nothing.
set -eu

# Filled in by a release: where it is, and the key that it is signed with.
default_url=''
public_key=''

usage() {
  cat <<'END'
usage: install.sh [--version VERSION] [--prefix DIR] [--from URL] [--service] [--restart] [--dry-run]
       install.sh --uninstall [--prefix DIR] [--dry-run]

  --version VERSION  this version instead of the newest
  --prefix DIR       install below DIR: DIR/bin/grace, DIR/share (default: GRACE_PREFIX,
                     then /usr/local where you may write to it, then ~/.local)
  --from URL         where releases are (default: GRACE_RELEASE_URL, then what the release names)
  --service[=KIND]   let the init system run it: systemd, openrc, runit, supervisord or sysv
                     (default: the one that this system has); needs root
  --uninstall        stop grace, and remove all that this script has put there; rules and logs stay
  --restart          then restart the daemon that runs, without dropping a connection
  --dry-run          say what would be done, and do nothing
END
}

main() {
  # How this script is called again: from a pipe it has no name.
  here=install.sh
  case $0 in *install.sh) here=$0 ;; esac
  version='' prefix=${GRACE_PREFIX:-} from=${GRACE_RELEASE_URL:-} restart='' dry_run='' service='' uninstall='' work='' checked=''
  while [ $# -gt 0 ]; do
    case $1 in
      --version=* | --prefix=* | --from=*) set_option "${1%%=*}" "${1#*=}" && shift ;;
      --version | --prefix | --from)
        [ $# -ge 2 ] || die "option $1 needs a value"
        set_option "$1" "$2" && shift 2
        ;;
      --service) service=auto && shift ;;
      --service=*) service=${1#*=} && shift ;;
      --uninstall) uninstall=yes && shift ;;
      --restart) restart=yes && shift ;;
      --dry-run) dry_run=yes && shift ;;
      -h | --help) usage && exit 0 ;;
      *) die "there is no option $1" "those that there are: $here --help" 2 ;;
    esac
  done

  if [ -n "$uninstall" ]; then
    find_place
    uninstall_it
    exit 0
  fi
  find_machine
  find_url
  case $0 in *install.sh) ;; *) here="curl -fsSL $url/latest/download/install.sh | sh -s --" ;; esac
  find_tools
  find_place
  find_service
  trap 'clean_up' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP

  work=$(mktemp -d "${TMPDIR:-/tmp}/grace-install.XXXXXX") || die 'cannot make a temporary directory'
  checked=$work
  release_dir=latest/download
  [ -z "$version" ] || release_dir=download/v$version
  fetch "$url/$release_dir/SHA256SUMS" "$work/SHA256SUMS" || die "there is no release ${version:+$version }at $url" 'name another place with --from URL'
  check_signature
  read_version
  artifact=grace-$version-$machine.$compression

  if [ -n "$dry_run" ]; then
    say "Would download $url/download/v$version/$artifact"
    say "Would install grace $version as $target"
    [ -z "$service" ] || say "Would let $service run it: $service_file"
    [ -z "$old_version" ] || say "There is grace $old_version now."
    exit 0
  fi
  download
  install_it
  install_shared
  tell
  if [ -n "$service" ]; then install_service; else offer_restart; fi
}

set_option() {
  [ -n "$2" ] || die "option $1 needs a value, not an empty text"
  case $1 in
    --version)
      version=${2#v}
      case $version in
        [!0-9]* | *[!0-9A-Za-z.-]*) die "\"$2\" is no version: expected one like 0.1.0" ;;
      esac
      ;;
    --prefix) prefix=$2 ;;
    --from) from=$2 ;;
  esac
}

say() { printf '%s\n' "$1"; }

die() {
  printf 'install.sh: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf 'hint: %s\n' "$2" >&2
  exit "${3:-1}"
}

clean_up() {
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$checked" ] || rm -rf "$checked"
}

find_machine() {
  system=$(uname -s) arch=$(uname -m)
  case $system in
    Linux)
      system=linux
      # shellcheck disable=SC2144 # one of them is enough
      if [ -e /lib/ld-musl-x86_64.so.1 ] || [ -e /lib/ld-musl-aarch64.so.1 ]; then
        [ -e /lib64/ld-linux-x86-64.so.2 ] || [ -e /lib/ld-linux-aarch64.so.1 ] ||
          die 'grace needs a system with glibc, and this one has musl' 'in a container use an image with glibc, debian:12-slim for one'
      fi
      ;;
    Darwin) system=macos ;;
    *) die "there is no grace for $system; there is one for Linux and macOS" ;;
  esac
  case $arch in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) die "there is no grace for $arch; there is one for x64 and arm64" ;;
  esac
  # A shell that Rosetta translates says x86_64 on Apple silicon.
  if [ "$system-$arch" = macos-x64 ] && [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" = 1 ]; then arch=arm64; fi
  machine=$system-$arch
  [ "$system" = macos ] || find_libraries
}

# What the executable links, by the names that the package managers have for it.
find_libraries() {
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')
  case $glibc in
    1.* | 2.[0-9] | 2.1[0-9] | 2.2[0-7] | 2.[0-9].* | 2.1[0-9].* | 2.2[0-7].*)
      die "grace needs glibc 2.28 or newer, and this system has $glibc" 'nothing was changed; a system of 2018 or later has it (Debian 10, Ubuntu 18.10, RHEL 8)'
      ;;
  esac
  [ -z "${LD_LIBRARY_PATH:-}" ] || return 0
  for library in libstdc++.so.6 libgcc_s.so.1; do
    has_library "$library" || die "grace needs $library, which is not here" "$(package_of "$library")"
  done
}

has_library() {
  for known in "/lib64/$1" "/usr/lib64/$1" "/lib/$1" "/usr/lib/$1" /lib/*-linux-gnu/"$1" /usr/lib/*-linux-gnu/"$1"; do
    [ ! -e "$known" ] || return 0
  done
  PATH=$PATH:/sbin:/usr/sbin ldconfig -p 2>/dev/null | grep -qF "$1 "
}

# How the package of a library is installed here.
package_of() {
  case $1 in
    libstdc++*) debian=libstdc++6 fedora=libstdc++ alpine=libstdc++ suse=libstdc++6 arch_linux=gcc-libs ;;
    *) debian=libgcc-s1 fedora=libgcc alpine=libgcc suse=libgcc_s1 arch_linux=gcc-libs ;;
  esac
  if has apt-get; then
    echo "apt-get install $debian"
  elif has dnf; then
    echo "dnf install $fedora"
  elif has microdnf; then
    echo "microdnf install $fedora"
  elif has yum; then
    echo "yum install $fedora"
  elif has zypper; then
    echo "zypper install $suse"
  elif has pacman; then
    echo "pacman -S $arch_linux"
  elif has apk; then
    echo "apk add $alpine"
  else
    echo "install the package $debian (Debian, Ubuntu) or $fedora (Fedora, RHEL)"
  fi
}

find_url() {
  url=${from:-$default_url}
  [ -n "$url" ] || die 'this copy of install.sh does not know where releases are' 'name the place with --from URL'
  while [ "$url" != "${url%/}" ]; do url=${url%/}; done
  case $url in
    https://* | http://localhost[:/]* | http://127.0.0.1[:/]* | http://\[::1\][:/]*) ;;
    http://*) [ -n "$from" ] || die "$url is not https" 'say that you want it with --from' ;;
    *) die "cannot use \"$url\" as the place of releases: expected an https address" ;;
  esac
}

find_tools() {
  if has curl; then
    downloader=curl
  elif has wget; then
    downloader=wget wget_options=''
    # The wget of BusyBox 1.35 crashes with -T.
    if wget --version 2>/dev/null | grep -q GNU; then wget_options='-t 3 -T 30'; fi
  else
    die 'there is neither curl nor wget to download with'
  fi
  if has sha256sum; then
    sha256='sha256sum'
  elif has shasum; then
    sha256='shasum -a 256'
  elif has openssl; then
    sha256='openssl dgst -sha256 -r'
  else
    die 'there is nothing to compute SHA-256 with: neither sha256sum, shasum nor openssl'
  fi
  if has zstd; then
    compression=zst
  elif has gzip; then
    compression=gz
  else
    die 'there is neither zstd nor gzip to unpack with'
  fi
}

has() { command -v "$1" >/dev/null 2>&1; }

find_place() {
  if [ -z "$prefix" ]; then
    if [ -w /usr/local/bin ] || { [ ! -e /usr/local/bin ] && [ -w /usr/local ]; }; then
      prefix=/usr/local
    else
      [ -n "${HOME:-}" ] || die 'there is no HOME to install to' 'name a place with --prefix DIR'
      prefix=$HOME/.local
    fi
  fi
  case $prefix in
    /*) ;;
    *) prefix=$PWD/$prefix ;;
  esac
  bindir=$prefix/bin
  installed=$bindir/grace
  # A symbolic link stays; what it leads to is replaced.
  target=$installed
  links=0
  while [ -h "$target" ]; do
    links=$((links + 1))
    [ "$links" -le 40 ] || die "$installed is a symbolic link that leads nowhere"
    link=$(readlink "$target")
    case $link in
      /*) target=$link ;;
      *) target=$(dirname "$target")/$link ;;
    esac
  done
  [ ! -d "$target" ] || die "$target is a directory"
  old_version=''
  if [ -x "$target" ]; then old_version=$(version_of "$target"); fi
}

# The version that an executable says it has; nothing when it does not run.
version_of() { "$1" --version 2>/dev/null | sed -n '1s/^grace \([0-9][0-9A-Za-z.-]*\)$/\1/p'; }

# fetch URL FILE: the whole file, or a failure.
fetch() {
  if [ "$downloader" = curl ]; then
    protocols='=http,https'
    case $1 in https://*) protocols='=https' ;; esac
    curl -fsSL --proto "$protocols" --proto-redir "$protocols" --max-redirs 5 --connect-timeout 30 --speed-limit 100 --speed-time 30 -o "$2" "$1"
  else
    # shellcheck disable=SC2086 # several words
    wget -q $wget_options -O "$2" "$1"
  fi
}

check_signature() {
  if [ -z "$public_key" ]; then
    say 'note: this copy of install.sh names no key; the download is checked against SHA256SUMS alone'
    return
  fi
  fetch "$url/$release_dir/SHA256SUMS.sig" "$work/SHA256SUMS.sig" || die "the release at $url is not signed" 'nothing was changed; somebody may have altered it'
  if ! has openssl || ! openssl pkeyutl -help 2>&1 | grep -q rawin; then
    say 'note: there is no openssl 3 to check the signature with; the download is checked against SHA256SUMS alone'
    return
  fi
  printf '%s\n' "$public_key" >"$work/key.pem"
  openssl pkeyutl -verify -pubin -inkey "$work/key.pem" -rawin -in "$work/SHA256SUMS" -sigfile "$work/SHA256SUMS.sig" >/dev/null 2>&1 ||
    die "the signature of the release at $url is wrong" 'nothing was changed; somebody may have altered it'
  signed=' and signature'
}

read_version() {
  found=$(sed -n "s/^[0-9a-f]\{64\} [ *]grace-\([0-9][0-9A-Za-z.-]*\)-$machine\.$compression\$/\1/p" "$work/SHA256SUMS" | head -n 1)
  [ -n "$found" ] || die "the release at $url has no executable for $machine"
  [ -z "$version" ] || [ "$version" = "$found" ] || die "what is at $url as $version is $found" 'nothing was changed; somebody may have altered it'
  version=$found
}

# Brings the executable beside its place, on the same file system, so that moving it there is one step.
download() {
  directory=$(dirname "$target")
  mkdir -p "$directory" 2>/dev/null || die "cannot make $directory" 'choose another place with --prefix DIR, or run this as root'
  work=$(mktemp -d "$directory/.grace-install.XXXXXX" 2>/dev/null) ||
    die "cannot write to $directory" 'choose another place with --prefix DIR, or run this as root'
  say "Downloading grace $version for $machine"
  fetch "$url/download/v$version/$artifact" "$work/$artifact" || die "cannot download $url/download/v$version/$artifact to $directory" "$(space)"
  expected=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$artifact\$/\1/p" "$checked/SHA256SUMS" | head -n 1)
  actual=$($sha256 <"$work/$artifact" | cut -c 1-64)
  [ "$expected" = "$actual" ] || die "$artifact is damaged: its SHA-256 is $actual instead of $expected" 'nothing was changed; try again'
  case $compression in
    zst) zstd -dcq --long=27 "$work/$artifact" >"$work/grace" || die "cannot unpack $artifact to $directory" "$(space)" ;;
    gz) gzip -dc "$work/$artifact" >"$work/grace" || die "cannot unpack $artifact to $directory" "$(space)" ;;
  esac
  chmod 755 "$work/grace"
  [ "$(version_of "$work/grace")" = "$version" ] || die "the downloaded grace does not run here: $("$work/grace" --version 2>&1 | head -n 1)" 'nothing was changed'
}

space() { df -Pk "$(dirname "$target")" 2>/dev/null | awk 'NR == 2 { printf "there are %d MB free in %s", $4 / 1024, $6 }'; }

install_it() {
  mv -f "$work/grace" "$target" || die "cannot put grace in place as $target"
  files=$target
}

# The man page and the completions, which the executable itself prints.
install_shared() {
  share share/man/man1/grace.1 man
  share share/bash-completion/completions/grace completion bash
  share share/zsh/site-functions/_grace completion zsh
  share share/fish/vendor_completions.d/grace.fish completion fish
}

# share PATH WORDS…: what grace prints for WORDS becomes the file PATH below the prefix.
share() {
  file=$prefix/$1
  shift
  if "$target" "$@" >"$work/shared" 2>/dev/null && mkdir -p "$(dirname "$file")" 2>/dev/null &&
    cp "$work/shared" "$file.new" 2>/dev/null && mv -f "$file.new" "$file"; then
    files="$files $file"
  else
    say "note: could not write $file"
  fi
}

tell() {
  if [ "$old_version" = "$version" ]; then
    say "Installed grace $version as $target anew (checksum${signed:-} verified)"
  elif [ -n "$old_version" ]; then
    say "Upgraded $target: $old_version -> $version (checksum${signed:-} verified)"
    say "To go back: $here --prefix $prefix --version $old_version"
  else
    say "Installed grace $version as $target (checksum${signed:-} verified)"
  fi
  if [ -n "$service" ]; then
    say "To undo it: $here --uninstall --prefix $prefix"
  else
    say "To undo it: grace stop; rm -f $files"
  fi
  case :$PATH: in
    *":$bindir:"*) ;;
    *) say "$bindir is not in your PATH; add it: export PATH=\"$bindir:\$PATH\"" ;;
  esac
  other=$(command -v grace 2>/dev/null || :)
  if [ -n "$other" ] && [ "$other" != "$installed" ]; then say "note: \"grace\" is still $other in your PATH"; fi
}

offer_restart() {
  running=$("$target" status 2>/dev/null | awk '$1 == "version" { print $2 }') || running=''
  if [ -z "$running" ] || [ "$running" = "$version" ]; then return; fi
  say "A daemon of grace $running runs. This brings it to $version without dropping a connection: grace restart"
  if [ -z "$restart" ] && [ -t 1 ] && (: </dev/tty) 2>/dev/null; then
    printf 'Do it now? [y/N] '
    read -r answer </dev/tty || answer=''
    case $answer in [yY]*) restart=yes ;; esac
  fi
  [ -z "$restart" ] || "$installed" restart
}

find_service() {
  [ -n "$service" ] || return 0
  [ "$(id -u)" = 0 ] || die 'only root can let the init system run grace' 'run this as root, or without --service'
  if [ "$service" = auto ]; then
    if [ -d /run/systemd/system ]; then
      service=systemd
    elif [ -d /run/openrc ]; then
      service=openrc
    elif [ -d /etc/sv ] && has sv; then
      service=runit
    elif has systemctl; then
      service=systemd
    elif has openrc-run; then
      service=openrc
    elif has supervisorctl; then
      service=supervisord
    elif [ -d /etc/init.d ]; then
      service=sysv
    else
      die 'this system has no init system that grace knows' 'name one with --service=KIND: systemd, openrc, runit, supervisord or sysv'
    fi
  fi
  service_file=$(file_of "$service")
  [ -n "$service_file" ] || die "there is no service file for \"$service\"" 'there is one for systemd, openrc, runit, supervisord and sysv'
}

file_of() {
  case $1 in
    systemd) echo /etc/systemd/system/grace.service ;;
    openrc | sysv) echo /etc/init.d/grace ;;
    runit) echo /etc/sv/grace/run ;;
    supervisord) echo /etc/supervisor/conf.d/grace.conf ;;
    logrotate) echo /etc/logrotate.d/grace ;;
  esac
}

install_service() {
  put_unit "$service" || die "grace $version prints no file for $service" 'grace itself is installed; take a newer version for --service'
  if [ -d /etc/logrotate.d ]; then put_unit logrotate || :; fi
  case $service in
    systemd)
      if [ -d /run/systemd/system ]; then
        systemctl daemon-reload && systemctl enable -q grace && if systemctl is-active -q grace; then systemctl reload grace; else systemctl start grace; fi
      else
        systemctl enable -q grace
      fi
      ;;
    openrc)
      rc-update -q add grace default && { [ ! -d /run/openrc ] || if rc-service -q grace status >/dev/null 2>&1; then rc-service grace restart; else rc-service grace start; fi; }
      ;;
    sysv)
      if has update-rc.d; then update-rc.d grace defaults; elif has chkconfig; then chkconfig --add grace; else say 'note: nothing here puts scripts into runlevels'; fi
      if /etc/init.d/grace status >/dev/null 2>&1; then /etc/init.d/grace restart; else /etc/init.d/grace start; fi
      ;;
    runit)
      for scanned in /etc/service /var/service /service; do
        [ ! -d "$scanned" ] || [ -h "$scanned/grace" ] || ln -s /etc/sv/grace "$scanned/grace"
      done
      ;;
    supervisord) supervisorctl update ;;
  esac || die "the service is in place as $service_file, but does not start" "look at its log, then try again: $here --service=$service"
  served=$("$target" -d /var/lib/grace status 2>/dev/null | awk '$1 == "pid" || $1 == "version" { print $2 }' | paste -sd' ' - | sed 's/^\([0-9]*\) \(.*\)$/, pid \1, version \2/') || served=''
  say "$service runs grace ($service_file$served). Its rules are in /var/lib/grace: grace -d /var/lib/grace start SRC DST"
}

# put_unit KIND: what the executable prints for KIND, in its place. What was there and is another's stays beside it.
put_unit() {
  unit_file=$(file_of "$1")
  GRACE_DIR='' "$installed" unit "$1" >"$work/unit" 2>/dev/null && [ -s "$work/unit" ] || return 1
  mkdir -p "$(dirname "$unit_file")"
  if [ -e "$unit_file" ] && ! cmp -s "$work/unit" "$unit_file" && cp -p "$unit_file" "$unit_file.before"; then
    say "note: $unit_file was another; it is $unit_file.before now"
  fi
  case $1 in
    openrc | sysv | runit) chmod 755 "$work/unit" ;;
    *) chmod 644 "$work/unit" ;;
  esac
  cp -p "$work/unit" "$unit_file.new" && mv -f "$unit_file.new" "$unit_file"
}

uninstall_it() {
  [ -e "$target" ] || [ -h "$installed" ] || die "there is no $installed" 'say where it is with --prefix DIR'
  removed=''
  if is_ours systemd; then
    act systemctl disable -q --now grace || :
    remove "$(file_of systemd)"
    [ ! -d /run/systemd/system ] || act systemctl daemon-reload || :
  fi
  if is_ours sysv; then
    act /etc/init.d/grace stop || :
    if has rc-update; then act rc-update -q del grace >/dev/null 2>&1 || :; fi
    remove /etc/init.d/grace
    if has update-rc.d; then act update-rc.d grace remove || :; elif has chkconfig; then act chkconfig --del grace || :; fi
  fi
  if is_ours runit; then
    if has sv; then act sv force-stop grace || :; fi
    act rm -f /etc/service/grace /var/service/grace /service/grace
    remove /etc/sv/grace/run
    act rm -rf /etc/sv/grace
  fi
  if is_ours supervisord; then
    remove "$(file_of supervisord)"
    act supervisorctl update || :
  fi
  if grep -qs 'every process of grace' "$(file_of logrotate)" && [ -w /etc/logrotate.d ]; then remove "$(file_of logrotate)"; fi
  kept=''
  find_states
  while IFS= read -r state; do
    [ -n "$state" ] || continue
    if "$target" -d "$state" status >/dev/null 2>&1; then
      [ -z "$dry_run" ] || say "Would stop the daemon in $state"
      act "$target" -d "$state" stop || die "the daemon in $state does not stop" 'nothing more was removed'
    fi
    if [ -d "$state" ]; then kept="$kept $state"; fi
    # Of a service with a user that systemd makes up, the dir is a link.
    if [ -h "$state" ]; then kept="$kept $(readlink -f "$state")"; fi
  done <<END
$states
END
  for file in "$target" "$installed" "$prefix/share/man/man1/grace.1" "$prefix/share/bash-completion/completions/grace" "$prefix/share/zsh/site-functions/_grace" "$prefix/share/fish/vendor_completions.d/grace.fish"; do
    remove "$file"
  done
  if [ -n "$dry_run" ]; then
    say "Would remove$removed"
    [ -z "$kept" ] || say "Rules and logs would stay:$kept"
    return
  fi
  say "Removed$removed"
  [ -z "$kept" ] || say "Rules and logs are still there. To remove them: rm -r$kept"
}

# The state dirs that this executable may serve, a line each: the usual ones, and those of every daemon that runs it.
find_states() {
  real=$(readlink -f "$target" 2>/dev/null) || real=$target
  states=$({
    printf '%s\n' "${GRACE_DIR:-${HOME:-/root}/.grace}" "${HOME:-/root}/.grace" /var/lib/grace
    for process in /proc/[0-9]*; do
      program=$(readlink "$process/exe" 2>/dev/null) || continue
      [ "${program% (deleted)}" = "$real" ] || continue
      # "-d DIR daemon", as a daemon and its keeper are started.
      tr '\0' '\n' <"$process/cmdline" 2>/dev/null | awk 'before == "-d" && $0 != "" { dir = $0 } $0 == "daemon" && dir != "" { print dir; exit } { before = $0 }'
    done
  } | awk '!seen[$0]++')
}

# Do it, or with --dry-run nothing.
act() { [ -n "$dry_run" ] || "$@"; }

# Whether the file for an init system is there and starts this executable.
is_ours() { grep -qsF "$installed" "$(file_of "$1")"; }

remove() {
  [ -e "$1" ] || [ -h "$1" ] || return 0
  act rm -f "$1" || die "cannot remove $1" 'run this as the user who installed it'
  removed="$removed $1"
}

main "$@"
