/** Tables for people. */

/** Draws rows of a name and a value, names to the left, values to the right. */
export function table(rows: readonly (readonly [name: string, value: string])[]): string {
  const left = Math.max(...rows.map(([name]) => name.length));
  const right = Math.max(...rows.map(([, value]) => value.length));
  const rule = (from: string, middle: string, to: string) =>
    `${from}${'─'.repeat(left + 2)}${middle}${'─'.repeat(right + 2)}${to}`;
  return [
    rule('┌', '┬', '┐'),
    ...rows.map(([name, value]) => `│ ${name.padEnd(left)} │ ${value.padStart(right)} │`),
    rule('└', '┴', '┘'),
  ].join('\n');
}
