package bridge

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// Tokens of Azure IoT Hub: the password of a connection is a shared access
// signature, made from the device's key for a limited time, after which the hub
// closes the connection. The bridge makes one for each connection and, before it
// expires, leaves in peace with nothing in flight and comes back with the next.

// tokenMargin is how long before its token expires a connection is left, as a
// part of the token's life.
const tokenMargin = 5

// renewWait is how long a connection that is to be left waits for what is in
// flight.
const renewWait = 10 * time.Second

// signature makes the token for a device of a hub until expiry. key is base64, as
// the hub shows it.
func signature(hub, device, key string, expiry time.Time) (string, error) {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(secret) == 0 {
		return "", fmt.Errorf("the device key is not base64; it is the primary or secondary key as the hub shows it")
	}
	resource := strings.ReplaceAll(url.QueryEscape(hub+"/devices/"+device), "+", "%20")
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s\n%d", resource, expiry.Unix())
	sig := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", resource, sig, expiry.Unix()), nil
}

// token makes the password for a connection to host that begins now, and says how
// long it is good for. The key is read anew each time.
func (b *Bridge) token(host string, now time.Time) (token string, life time.Duration, err error) {
	key, err := os.ReadFile(b.cfg.TokenKeyFile)
	if err != nil {
		return "", 0, fmt.Errorf("read the key that tokens are made from (token_key_file): %w", err)
	}
	expiry := now.Add(b.profile.tokenLife).Truncate(time.Second) // that is all it can say
	token, err = signature(host, b.cfg.ClientID, string(bytes.TrimSpace(key)), expiry)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w", b.cfg.TokenKeyFile, err)
	}
	return token, expiry.Sub(now), nil
}

// credentials are what a connection shows to the server.
type credentials struct {
	user, password string
	life           time.Duration // of the password; 0 = for ever
}

func (b *Bridge) credentials(host string) (c credentials, err error) {
	c = credentials{user: b.cfg.Username, password: string(b.cfg.Password)}
	if c.user == "" && b.profile.username != "" {
		c.user = strings.NewReplacer("{server}", host, "{client}", b.cfg.ClientID).Replace(b.profile.username)
	}
	if b.cfg.TokenKeyFile != "" {
		c.password, c.life, err = b.token(host, time.Now())
	}
	return c, err
}

// renewAfter is when a connection with them is to be left; 0 for never.
func (c *credentials) renewAfter() time.Duration { return c.life - c.life/tokenMargin }
