// Verify a webhook of Bellwether. Needs Node.js 18 and no package.
const { createHmac, timingSafeEqual } = require("node:crypto");

const TOLERANCE_SECONDS = 300;

/** The bytes that `webhook-signature` is keyed with. */
function keyOf(secret) {
  return secret.startsWith("whsec_")
    ? Buffer.from(secret.slice("whsec_".length), "base64")
    : Buffer.from(secret, "utf8");
}

/** True if the request is genuine and recent. `headers` has names in lower case, `body` is a Buffer of the raw body. */
function verify(secret, headers, body, now = Date.now() / 1000) {
  const id = headers["webhook-id"] ?? "";
  const timestamp = headers["webhook-timestamp"] ?? "";
  if (!/^[0-9]{1,15}$/.test(timestamp)) return false;
  if (Math.abs(now - Number(timestamp)) > TOLERANCE_SECONDS) return false;
  const hmac = createHmac("sha256", keyOf(secret)).update(`${id}.${timestamp}.`).update(body);
  const expected = Buffer.from(`v1,${hmac.digest("base64")}`);
  // During a rotation there are two signatures.
  return (headers["webhook-signature"] ?? "").split(" ").some((text) => {
    const given = Buffer.from(text);
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

module.exports = { verify };

if (require.main === module) {
  // node verify.js SECRET ID TIMESTAMP SIGNATURE < body
  const [secret, id, timestamp, signature] = process.argv.slice(2);
  const headers = { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signature };
  const body = require("node:fs").readFileSync(0);
  process.exit(verify(secret, headers, body) ? 0 : 1);
}
