import assert from 'node:assert/strict';
import { EndpointError } from '../../src/endpoint/error.ts';

/** The error that reading a string ends in; fails when it is read, or ends in another sort of error. */
export function refusalOf(read: (text: string) => unknown, text: string): EndpointError {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof EndpointError, `${text}: ${error}`);
    assert.equal(error.text, text);
    assert.equal(error.code, 'ERR_GRACE_ENDPOINT');
    assert.doesNotMatch(error.message, /\n/);
    return error;
  }
  assert.fail(`${text} was read`);
}

/** Check that each string is refused with words of the reason. */
export function refuses(read: (text: string) => unknown, reasons: Readonly<Record<string, RegExp>>): void {
  for (const [text, reason] of Object.entries(reasons)) assert.match(refusalOf(read, text).message, reason);
}
