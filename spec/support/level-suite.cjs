// Runs abstract-level's own test suite, as it is, on SharedLevel; tape prints TAP and sets the exit code.
const test = require('tape');
const suite = require('abstract-level/test');

import('../../dist/level.js').then(({ SharedLevel }) => {
  suite({ test, factory: (options) => new SharedLevel({ memory: '8MB', ...options }) });
});
