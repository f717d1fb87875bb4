// npm oidc-provider with a token exchange (RFC 8693) that this benchmark registers: private_key_jwt, a subject token
// whose signature and claims are checked, and an ES256 JWT for one resource. Everything is kept in memory.
//
// stdin: one JSON line {issuer, agent, key, subjects, subjectKey, resource, scopes}; its end ends the process.
// stdout: a line with the port.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import * as crypto from "node:crypto";

import { jwtVerify } from "jose";
import { Provider, errors } from "oidc-provider";

const GRANT = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";
const JWT = "urn:ietf:params:oauth:token-type:jwt";
const PARAMETERS = [
  "subject_token",
  "subject_token_type",
  "requested_token_type",
  "resource",
  "scope",
];

function providerOf(told) {
  const { privateKey } = crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
  const info = {
    audience: told.resource,
    scope: told.scopes.join(" "),
    accessTokenFormat: "jwt",
    accessTokenTTL: 300,
    jwt: { sign: { alg: "ES256" } },
  };
  const provider = new Provider(told.issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), alg: "ES256", use: "sig", kid: "1" }] },
    clients: [
      {
        client_id: told.agent,
        token_endpoint_auth_method: "private_key_jwt",
        token_endpoint_auth_signing_alg: "ES256",
        jwks: { keys: [told.key] },
        grant_types: [GRANT],
        response_types: [],
        redirect_uris: [],
        id_token_signed_response_alg: "ES256",
      },
    ],
    extraTokenClaims: (_, token) => ({ act: { sub: token.clientId } }),
    cookies: { keys: ["only a benchmark"] },
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, getResourceServerInfo: () => info },
    },
    ttl: { AccessToken: 300 },
  });
  const subjectKey = crypto.createPublicKey({ key: told.subjectKey, format: "jwk" });
  const expected = { issuer: told.subjects, audience: told.issuer, algorithms: ["ES256"], requiredClaims: ["exp"] };

  async function exchange(ctx) {
    const { params, client } = ctx.oidc;
    if (params.subject_token_type !== JWT || (params.requested_token_type ?? ACCESS_TOKEN) !== ACCESS_TOKEN) {
      throw new errors.InvalidRequest("a JWT is exchanged for an access token");
    }
    if (params.resource !== told.resource) throw new errors.InvalidTarget();
    let subject;
    try {
      ({ payload: subject } = await jwtVerify(params.subject_token, subjectKey, expected));
    } catch (error) {
      throw new errors.InvalidGrant(error.code);
    }
    const granted = new Set(subject.scope.split(" "));
    const asked = (params.scope ?? "").split(" ");
    if (!asked.every((scope) => granted.has(scope) && told.scopes.includes(scope))) {
      throw new errors.InvalidScope("not in the subject token", params.scope);
    }
    const token = new provider.AccessToken({
      accountId: subject.sub,
      client,
      gty: "token_exchange",
      scope: params.scope,
    });
    token.resourceServer = new provider.ResourceServer(params.resource, info);
    ctx.body = {
      access_token: await token.save(),
      issued_token_type: ACCESS_TOKEN,
      token_type: token.tokenType,
      expires_in: token.expiration,
      scope: token.scope,
    };
  }

  provider.registerGrantType(GRANT, exchange, PARAMETERS);
  return provider;
}

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => {
  const server = createServer(providerOf(JSON.parse(line)).callback());
  server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
});
lines.on("close", () => process.exit(0));
