import type { Logger } from './types.js';

export interface StartOptions {
  /** 8883; 0: a free one. */
  port?: number;
  /** JWT_SECRET of the environment: of at least 32 bytes, or a PEM public key. */
  secret?: string;
  /** The program; parley on the path, or $PARLEY_BIN. */
  binary?: string;
  /** Text of a configuration instead of the own one; {env: JWT_SECRET} is the secret there too. */
  config?: string;
  logger?: Partial<Logger>;
}

export interface Server {
  port: number;
  brokerUrl: string;
  pid: number;
  /** Resolves when it has ended. */
  stop(): Promise<void>;
}

/** What examples/cashew/cashew.yaml says. */
const configuration = (port: number) => JSON.stringify({
  admin: { enabled: false },
  listeners: [{ name: 'cashew', port, protocols: 'mqtt', websocket: true, websocket_paths: { '/*': 'mqtt' },
    origins: '*' }],
  auth: { jwt: { keys: [{ env: 'JWT_SECRET' }], user_name: 'JWT', handler_role: 'handler',
    default_role: 'device', nameless_role: 'nameless' } },
  roles: {
    device: { subscribe: ['{user_id}.#'], publish: ['>'] },
    handler: { subscribe: ['>'], publish: ['>'] },
    nameless: { publish: ['>'] },
  },
  client: { login_timeout: '30s' },
});

/** Runs parley as a child of this process, for tests and demos; Node only. */
export async function start(options: StartOptions = {}, done?: (server: Server) => void): Promise<Server> {
  const { spawn } = await import('node:child_process');
  const fs = await import('node:fs/promises');
  const { tmpdir } = await import('node:os');
  const { join } = await import('node:path');
  const secret = options.secret ?? process.env['JWT_SECRET'];
  if (!secret) throw new Error('a secret is needed: the option secret, or JWT_SECRET');
  const folder = await fs.mkdtemp(join(tmpdir(), 'cashew-'));
  const [config, ports] = [join(folder, 'cashew.yaml'), join(folder, 'ports.json')];
  await fs.writeFile(config, options.config ?? configuration(options.port ?? 8883));
  const child = spawn(options.binary ?? process.env['PARLEY_BIN'] ?? 'parley',
    ['serve', '--config', config, '--data', join(folder, 'data'), '--ports-file', ports],
    { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, JWT_SECRET: secret } });
  let said = '';
  child.stderr.on('data', (text: Buffer) => {
    said = (said + text.toString()).slice(-4000);
    options.logger?.info?.(text.toString().trimEnd());
  });
  let failure: Error | undefined;
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => { failure = error; resolve(); });
    child.once('exit', () => resolve());
  });
  const killer = () => child.kill();
  process.once('exit', killer);
  const port = await Promise.race([
    ended.then(() => { throw failure ?? new Error(`parley ended: ${said}`); }),
    (async () => {
      for (;;) {
        const text = await fs.readFile(ports, 'utf8').catch(() => '');
        try {
          return (JSON.parse(text) as { name: string; port: number }[])
            .find(({ name }) => name === 'cashew')?.port ?? 0;
        } catch {
          await new Promise((resolve) => { setTimeout(resolve, 10); });
        }
      }
    })(),
  ]);
  const server: Server = {
    port,
    brokerUrl: `ws://127.0.0.1:${port}`,
    pid: child.pid as number,
    async stop() {
      process.off('exit', killer);
      child.kill();
      await ended;
      await fs.rm(folder, { recursive: true, force: true });
    },
  };
  done?.(server);
  return server;
}
