/**
 * A real Firefox for tests, spoken to over its own protocol (Marionette): it needs neither a driver program nor a patched
 * browser. Found, or installed where that can be done, or a clear error; left out only if the environment says so.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureProgram, findProgram } from './programs.ts';

/** Environment variable that says which Firefox the tests use; `none` leaves these tests out. */
export const FIREFOX = 'SABTREE_FIREFOX';
/** Milliseconds a hook has to allow for `launchFirefox`, which may have to install one. */
export const FIREFOX_LIMIT = 600_000;
/** Milliseconds until a started Firefox listens. */
const START_LIMIT = 60_000;

const NAMES = ['firefox', 'firefox-esr', 'firefox-developer-edition'];

function usualPlaces(): string[] {
  const { env, platform } = process;
  if (platform === 'darwin') {
    const app = join('Firefox.app', 'Contents', 'MacOS', 'firefox');
    return [join('/Applications', app), join(homedir(), 'Applications', app)];
  }
  if (platform === 'win32') {
    const folders = [env.ProgramFiles, env['ProgramFiles(x86)'], env.LOCALAPPDATA];
    return folders.flatMap((folder) => (folder === undefined ? [] : join(folder, 'Mozilla Firefox', 'firefox.exe')));
  }
  return ['/usr/bin', '/usr/local/bin', '/snap/bin'].flatMap((folder) => NAMES.map((name) => join(folder, name)));
}

/** The path of a Firefox, which is installed if need be. @throws an error that says what to do */
function ensureFirefox(): string {
  const find = () => findProgram(FIREFOX, NAMES, usualPlaces());
  const advice = `Firefox, and none was found or could be installed: install one, let the environment variable ${FIREFOX} name its program, or set it to "none" to leave these tests out`;
  return ensureProgram(find, 'firefox-esr', FIREFOX_LIMIT, advice);
}

/** No first page, no updates, no reports; and a port of its own choice, which it writes into its profile. */
const PREFERENCES = {
  'marionette.port': 0,
  'app.update.auto': false,
  'browser.shell.checkDefaultBrowser': false,
  'browser.startup.homepage_override.mstone': 'ignore',
  'datareporting.policy.dataSubmissionEnabled': false,
  'toolkit.telemetry.reportingpolicy.firstRun': false,
};

/** A running Firefox. */
export class Firefox {
  private readonly process: ChildProcess;
  private readonly profile: string;
  private readonly socket: Socket;
  private received = Buffer.alloc(0);
  private readonly waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  private last = 0;

  private constructor(process: ChildProcess, profile: string, socket: Socket) {
    this.process = process;
    this.profile = profile;
    this.socket = socket;
    socket.on('data', (data) => this.take(data));
    socket.on('close', () => {
      for (const { reject } of this.waiting.values()) reject(new Error('Firefox ended'));
    });
  }

  /** Starts one without a window. */
  static async launch(): Promise<Firefox> {
    const program = ensureFirefox();
    const profile = mkdtempSync(join(tmpdir(), 'sabtree-firefox-'));
    const lines = Object.entries(PREFERENCES).map(([name, value]) => `user_pref("${name}", ${JSON.stringify(value)});`);
    writeFileSync(join(profile, 'user.js'), lines.join('\n'));
    const args = ['--headless', '--marionette', '--no-remote', '--profile', profile, 'about:blank'];
    const process = spawn(program, args, { stdio: 'ignore' });
    const end = performance.now() + START_LIMIT;
    for (;;) {
      const socket = await dial(join(profile, 'MarionetteActivePort')).catch(() => undefined);
      if (socket !== undefined) {
        const firefox = new Firefox(process, profile, socket);
        await firefox.send('WebDriver:NewSession', {});
        await firefox.send('WebDriver:SetTimeouts', { script: 60_000 });
        return firefox;
      }
      if (process.exitCode !== null || performance.now() > end) {
        process.kill();
        throw new Error(`${program} does not answer (exit code ${process.exitCode})`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Each message is its length, a colon, and JSON: [type, id, error or command, result or parameters]. */
  private take(data: Buffer): void {
    this.received = Buffer.concat([this.received, data]);
    for (;;) {
      const colon = this.received.indexOf(':');
      const length = Number(this.received.subarray(0, colon));
      if (colon < 0 || this.received.length < colon + 1 + length) return;
      const message = JSON.parse(this.received.subarray(colon + 1, colon + 1 + length).toString());
      this.received = this.received.subarray(colon + 1 + length);
      // The first one is a greeting.
      if (!Array.isArray(message)) continue;
      const [, id, error, result] = message;
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === null) waiting?.resolve(result);
      else waiting?.reject(new Error(`${error.error}: ${error.message}`));
    }
  }

  private send(command: string, parameters: object): Promise<unknown> {
    const id = ++this.last;
    const message = JSON.stringify([0, id, command, parameters]);
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.socket.write(`${Buffer.byteLength(message)}:${message}`);
    });
  }

  /** Opens a page; resolves when it has loaded. */
  async goto(url: string): Promise<void> {
    await this.send('WebDriver:Navigate', { url });
  }

  /** Runs a function in the page, with an argument and for a result that JSON has. It sees nothing else but the page. */
  async evaluate<A, R>(body: (argument: A) => R | Promise<R>, argument?: A): Promise<R> {
    // As a script of the page: what Marionette runs itself has a global object of its own.
    const code = `
      Promise.resolve().then(() => (${body})(${JSON.stringify(argument)})).then(
        (result) => ({ result }),
        (error) => ({ error: error.code + ' ' + error.name + ': ' + error.message + '\\n' + error.stack }),
      ).then((outcome) => {
        document.documentElement.dataset.outcome = JSON.stringify(outcome);
        document.dispatchEvent(new Event('outcome'));
      });`;
    const script = `
      const [code, done] = arguments;
      document.addEventListener('outcome', () => done(document.documentElement.dataset.outcome), { once: true });
      const script = document.createElement('script');
      script.textContent = code;
      document.head.append(script);`;
    const { value } = (await this.send('WebDriver:ExecuteAsyncScript', { script, args: [code] })) as { value: string };
    const { result, error } = JSON.parse(value) as { result?: R; error?: string };
    if (error !== undefined) throw new Error(error);
    return result as R;
  }

  /** Ends it. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    if (this.process.exitCode === null) {
      await this.send('Marionette:Quit', { flags: ['eForceQuit'] }).catch(() => this.process.kill());
      await ended;
    }
    this.socket.destroy();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Connects to the port that a file names. */
function dial(file: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(readFileSync(file, 'utf8')), '127.0.0.1');
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}
