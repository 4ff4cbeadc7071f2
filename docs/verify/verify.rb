# Verify a webhook of Bellwether. Needs Ruby 2.7 and no gem.
require "openssl"

TOLERANCE_SECONDS = 300

# The bytes that webhook-signature is keyed with.
def key_of(secret)
  secret.start_with?("whsec_") ? secret.delete_prefix("whsec_").unpack1("m0") : secret
end

# True if the request is genuine and recent. `headers` has names in lower case, `body` is the raw body.
def genuine?(secret, headers, body, now = Time.now.to_i)
  timestamp = headers["webhook-timestamp"].to_s
  return false unless timestamp.match?(/\A[0-9]{1,15}\z/)
  return false if (now - timestamp.to_i).abs > TOLERANCE_SECONDS

  signed = "#{headers["webhook-id"]}.#{timestamp}.".b + body.b
  expected = "v1," + [OpenSSL::HMAC.digest("SHA256", key_of(secret), signed)].pack("m0")
  # During a rotation there are two signatures.
  headers["webhook-signature"].to_s.split(" ").any? do |given|
    given.bytesize == expected.bytesize && OpenSSL.fixed_length_secure_compare(given, expected)
  end
end

if __FILE__ == $PROGRAM_NAME
  # ruby verify.rb SECRET ID TIMESTAMP SIGNATURE < body
  secret, id, timestamp, signature = ARGV
  headers = { "webhook-id" => id, "webhook-timestamp" => timestamp, "webhook-signature" => signature }
  exit(genuine?(secret, headers, $stdin.binmode.read))
end
