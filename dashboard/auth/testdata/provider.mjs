// An OpenID provider for tests: any name logs in with any password, and is in the groups
// that the first argument maps it to. It prints its issuer, and ends with its input.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
const require = createRequire(process.argv[2]);
const { default: Provider } = await import(require.resolve('oidc-provider'));

const { groups, redirect } = JSON.parse(process.argv[3]);
const server = createServer((req, res) => handler(req, res));
server.listen(0, '127.0.0.1');
await new Promise((done) => server.once('listening', done));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: 'footfall', client_secret: 'a secret', redirect_uris: [redirect] }],
  pkce: { required: () => true, methods: ['S256'] },
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, email: `${id}@example.org`, groups: groups[id] || [] }),
  }),
});
const handler = provider.callback();
console.log(issuer);
process.stdin.on('end', () => process.exit(0)).resume();
