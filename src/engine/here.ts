import { errorMessage } from '../error.ts';
import { checkKernel } from './native/kernel.ts';

/** The engine that a daemon would take here, without starting it; with the reason when it is not the native one. */
export function engineHere(): string {
  try {
    if (process.platform !== 'linux') throw new Error('it runs on Linux only');
    checkKernel();
    return 'native';
  } catch (error) {
    return `portable (the native one cannot run here: ${errorMessage(error)})`;
  }
}
