import type { Networks } from '../../endpoint/networks.ts';
import type { AddressWords } from './address-key.ts';

/** Whether an address lies in one of the ranges: a binary search, 20 steps for a million. */
export function includesAddress({ ipv4, ipv6 }: Networks, words: AddressWords): boolean {
  return words.length === 1 ? includes(ipv4, words) : includes(ipv6, words);
}

/** Ranges are two numbers of as many words as the address has. */
function includes(ranges: Uint32Array, words: AddressWords): boolean {
  const size = words.length;
  let low = 0;
  let high = ranges.length / (2 * size);
  // The last range that begins at the address or before it.
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(ranges, middle * 2 * size, words) <= 0) low = middle + 1;
    else high = middle;
  }
  return low > 0 && compare(ranges, (low - 1) * 2 * size + size, words) >= 0;
}

function compare(numbers: Uint32Array, at: number, words: AddressWords): number {
  for (let index = 0; index < words.length; index++) {
    const difference = numbers[at + index]! - words[index]!;
    if (difference !== 0) return difference;
  }
  return 0;
}
