// A certified OpenID provider (the package oidc-provider) with a small ledger behind it, on 127.0.0.1.
//
// Its settings come as one line of JSON on standard input: port, client_id, client_secret, redirect_uri, access_seconds.
// It ends when standard input does. It prints `ready` when it listens, then method, address and status of each request.
// GET /journal tells what the provider's own events were; PUT /life/<seconds> says how long access tokens live from then on.

import { randomBytes, generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

import { Provider } from 'oidc-provider';

const input = createInterface({ input: process.stdin });
const settings = JSON.parse(await new Promise((resolve) => { input.once('line', resolve); }));
input.once('close', () => process.exit());
const issuer = `http://127.0.0.1:${settings.port}`;
let life = settings.access_seconds;
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  clients: [{
    client_id: settings.client_id,
    client_secret: settings.client_secret,
    redirect_uris: [settings.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
    id_token_signed_response_alg: 'ES256',
  }],
  jwks: { keys: [{ ...key, use: 'sig', alg: 'ES256' }] },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  scopes: ['openid', 'offline_access', 'ledger:read', 'ledger:write'],
  claims: { openid: ['sub', 'name'] },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: `The books of ${id}` }) }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  ttl: {
    AccessToken: () => life,
    AuthorizationCode: 60,
    Grant: 86400,
    IdToken: 60,
    Interaction: 600,
    RefreshToken: 86400,
    Session: 86400,
  },
  features: {
    introspection: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
  },
});

const journal = [];
for (const name of ['authorization.error', 'grant.success', 'grant.error', 'grant.revoked', 'revocation.error']) {
  provider.on(name, (ctx, error) => journal.push({
    event: name,
    grant_type: ctx.oidc?.params?.grant_type ?? null,
    error: error?.error ?? null,
    detail: error?.error_detail ?? null,
  }));
}
for (const name of ['access_token.issued', 'refresh_token.consumed', 'refresh_token.destroyed']) {
  provider.on(name, () => journal.push({ event: name }));
}

// The ledger: entries by the key under which they were written.
const entries = new Map([['opening', { id: 'ent_1', memo: 'Opening balance', amount: 120000, currency: 'EUR' }]]);

async function ledger(request) {
  const [scheme, value] = (request.headers.authorization ?? '').split(' ');
  const token = scheme === 'Bearer' && value ? await provider.AccessToken.find(value) : undefined;
  if (!token) {
    return [401, { error: 'invalid_token' }];
  }
  if (!token.scopes.has(request.method === 'GET' ? 'ledger:read' : 'ledger:write')) {
    return [403, { error: 'insufficient_scope' }];
  }
  if (request.method === 'GET') {
    return [200, { entries: [...entries.values()] }];
  }
  const idempotencyKey = request.headers['idempotency-key'];
  if (!idempotencyKey) {
    return [400, { error: 'idempotency_key_missing' }];
  }
  if (!entries.has(idempotencyKey)) {
    entries.set(idempotencyKey, { id: `ent_${entries.size + 1}`, ...JSON.parse(await text(request)) });
  }
  return [201, entries.get(idempotencyKey)];
}

const handle = provider.callback();
const server = createServer(async (request, response) => {
  response.on('finish', () => console.log(request.method, request.originalUrl ?? request.url, response.statusCode));
  const { pathname } = new URL(request.url, issuer);
  if (pathname.startsWith('/life/') && request.method === 'PUT') {
    life = Number(pathname.slice('/life/'.length));
    response.writeHead(204).end();
    return;
  }
  if (pathname !== '/ledger/entries' && pathname !== '/journal') {
    handle(request, response);
    return;
  }
  const [status, body] = pathname === '/journal' ? [200, journal] : await ledger(request);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
server.listen(settings.port, '127.0.0.1', () => console.log('ready'));
