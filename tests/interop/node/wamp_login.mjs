// One login of autobahn-js or wampy, told as a line of JSON.
//
//   node wamp_login.mjs '{"library": "autobahn", "url": …, "realm": …, "methods": ["ticket"],
//                         "authid": …, "secret": …, "authextra": {…}, "call": "com.example.hello"}'
//   ← {"welcome": {"authid": …}, "result": …}   or   {"refused": "wamp.error.…"}
//
// secret: a ticket, a password, a private key in hex. call: a procedure that is called after it.
const options = JSON.parse(process.argv[2]);

function tell(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`, () => process.exit(0));
}

async function autobahn() {
  const { default: library } = await import('autobahn');
  const { default: nacl } = await import('tweetnacl');
  const key = () => nacl.sign.keyPair.fromSeed(Buffer.from(options.secret, 'hex'));
  const answers = {
    ticket: () => options.secret,
    wampcra: (extra) => library.auth_cra.sign(extra.salt
      ? library.auth_cra.derive_key(options.secret, extra.salt, extra.iterations, extra.keylen)
      : options.secret, extra.challenge),
    cryptosign: (extra) => library.auth_cryptosign.sign_challenge(key(), extra),
  };
  const authextra = { ...options.authextra };
  if (options.methods.includes('cryptosign')) {
    authextra.pubkey = Buffer.from(key().publicKey).toString('hex');
  }
  const connection = new library.Connection({
    url: options.url,
    realm: options.realm,
    authid: options.authid,
    authmethods: options.methods,
    authextra,
    max_retries: 0,
    onchallenge: (session, method, extra) => answers[method](extra),
  });
  connection.onopen = async (session, details) => {
    const { authid, authrole, authmethod, authprovider, authextra: told } = details;
    const welcome = { authid, authrole, authmethod, authprovider, authextra: told };
    tell({ welcome, result: options.call ? await session.call(options.call) : null });
  };
  connection.onclose = (reason, details) => {
    tell({ refused: details.reason ?? reason });
    return true;
  };
  connection.open();
}

async function wampy() {
  const { default: ws } = await import('ws');
  const { Wampy } = await import('wampy');
  const cra = await import('wampy/wampcra.js');
  const cryptosign = await import('wampy/cryptosign.js');
  const client = new Wampy(options.url, {
    ws,
    realm: options.realm,
    authid: options.authid,
    authmethods: options.methods,
    authextra: options.authextra ?? {},
    authMode: 'auto',
    autoReconnect: false,
    authPlugins: {
      ticket: () => options.secret,
      wampcra: cra.sign(options.secret),
      cryptosign: (method, extra) => cryptosign.sign(options.secret)(method, extra),
    },
  });
  try {
    const { authid, authrole, authmethod, authprovider } = await client.connect();
    const result = options.call ? await client.call(options.call) : null;
    tell({ welcome: { authid, authrole, authmethod, authprovider }, result });
  } catch (error) {
    tell({ refused: error.errorUri ?? String(error) });
  }
}

await (options.library === 'wampy' ? wampy : autobahn)();
