/** Closes a test run with one plain line, `N passed, N failed`, for programs that read the output. */
export default class TallyReporter {
  onTestRunEnd(modules, errors) {
    let passed = 0;
    // An error outside any test, and a file that could not even be collected, count as a failure each.
    let failed = errors.length;
    for (const module of modules) {
      failed += module.errors().length;
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
      }
    }
    process.stdout.write(`${passed} passed, ${failed} failed\n`);
  }
}
