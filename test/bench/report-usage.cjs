/** Loaded with NODE_OPTIONS=--require: prints what the process has used, as the last line of standard error. */
process.on('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  const usage = {
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
    wallSeconds: performance.now() / 1e3,
    peakMegabytes: (maxRSS * 1024) / 1e6,
  };
  require('node:fs').writeSync(2, `${JSON.stringify(usage)}\n`);
});
