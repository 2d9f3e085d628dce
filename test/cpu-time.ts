/** Count from now on; returns what says how long this process, with all its threads, has kept the processor busy since, in milliseconds. */
export function countCpuMs(): () => number {
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
}
