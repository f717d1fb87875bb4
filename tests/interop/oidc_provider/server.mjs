// A certified OpenID provider on the loopback, for tests/interop. It signs anybody in as whom the form says.
//
// stdout: one JSON line {issuer}. stdin: lines "rotate" (sign with new keys, the old ones still published) and
// "retire" (publish the newest keys alone); each is answered by the same line once it is done.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import * as crypto from "node:crypto";

import { Provider } from "oidc-provider";

const KINDS = {
  ES256: ["ec", { namedCurve: "P-256" }],
  ES384: ["ec", { namedCurve: "P-384" }],
  EdDSA: ["ed25519", {}],
  RS256: ["rsa", { modulusLength: 2048 }],
  PS256: ["rsa", { modulusLength: 2048 }],
};
const ALGORITHMS = Object.keys(KINDS);
const AUDIENCE = "https://sts.example";
let serial = 0;

function fresh() {
  serial += 1;
  return Object.entries(KINDS).map(([alg, [type, options]]) => {
    const { privateKey } = crypto.generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: `${alg}-${serial}` };
  });
}

const COMMAND_LINE = {
  client_id: "command-line",
  application_type: "native",
  token_endpoint_auth_method: "none",
  redirect_uris: ["http://127.0.0.1/callback"],
  response_types: ["code"],
  grant_types: ["authorization_code"],
  id_token_signed_response_alg: "ES256",
};

function clients() {
  const portals = ALGORITHMS.map((alg) => ({
    client_id: `portal-${alg}`,
    token_endpoint_auth_method: "none",
    redirect_uris: ["https://portal.example/back"],
    response_types: ["code"],
    grant_types: ["authorization_code"],
    id_token_signed_response_alg: alg,
    require_auth_time: true,
  }));
  return [...portals, COMMAND_LINE];
}

function providerOf(issuer, keys) {
  const provider = new Provider(issuer, {
    jwks: { keys },
    clients: clients(),
    acrValues: ["gold", "silver"],
    claims: { openid: ["sub", "groups"], acr: null, amr: null, auth_time: null, iss: null, sid: null },
    conformIdTokenClaims: false,
    cookies: { keys: ["only a test"] },
    enabledJWA: { idTokenSigningAlgValues: ALGORITHMS },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: ["sales", "eu"] }) }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    features: {
      devInteractions: { enabled: false },
      claimsParameter: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          audience: AUDIENCE,
          scope: "crm:read crm:write wiki:read",
          accessTokenFormat: "jwt",
          accessTokenTTL: 600,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
    ttl: { IdToken: 600, AccessToken: 600, Interaction: 60, Session: 600, Grant: 600 },
  });
  return provider;
}

async function interact(provider, request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    const login = { accountId: params.login_hint, acr: "gold", amr: ["pwd", "otp"] };
    return provider.interactionFinished(request, response, { login });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope("openid");
  grant.addResourceScope(AUDIENCE, params.scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

const server = createServer((request, response) => {
  if (request.url.startsWith("/interaction/")) {
    interact(provider, request, response).catch((error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  } else {
    provider.callback()(request, response);
  }
});
let keys = fresh();
let provider;
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const say = () => process.stdout.write(`${JSON.stringify({ issuer })}\n`);
  provider = providerOf(issuer, keys);
  say();
  createInterface({ input: process.stdin }).on("line", (line) => {
    keys = line === "rotate" ? [...fresh(), ...keys] : keys.slice(0, ALGORITHMS.length);
    provider = providerOf(issuer, keys);
    say();
  }).on("close", () => process.exit(0));
});
