<?php
// Verify a webhook of Bellwether. Needs PHP 8 and no package.
const TOLERANCE_SECONDS = 300;

/** The bytes that webhook-signature is keyed with. */
function keyOf(string $secret): string
{
    return str_starts_with($secret, 'whsec_') ? base64_decode(substr($secret, 6), true) : $secret;
}

/** True if the request is genuine and recent. `$headers` has names in lower case, `$body` is the raw body. */
function isGenuine(string $secret, array $headers, string $body, ?int $now = null): bool
{
    $timestamp = $headers['webhook-timestamp'] ?? '';
    if (!preg_match('/^[0-9]{1,15}$/D', $timestamp)) {
        return false;
    }
    if (abs(($now ?? time()) - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $signed = ($headers['webhook-id'] ?? '') . '.' . $timestamp . '.' . $body;
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', $signed, keyOf($secret), true));
    // During a rotation there are two signatures.
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $given) {
        if (hash_equals($expected, $given)) {
            return true;
        }
    }
    return false;
}

if (PHP_SAPI === 'cli' && realpath($argv[0]) === __FILE__) {
    // php verify.php SECRET ID TIMESTAMP SIGNATURE < body
    $headers = ['webhook-id' => $argv[2], 'webhook-timestamp' => $argv[3], 'webhook-signature' => $argv[4]];
    exit(isGenuine($argv[1], $headers, stream_get_contents(STDIN)) ? 0 : 1);
}
