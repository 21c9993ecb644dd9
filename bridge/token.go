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
	resource := url.QueryEscape(hub + "/devices/" + device)
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s\n%d", resource, expiry.Unix())
	sig := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", resource, sig, expiry.Unix()), nil
}

// token makes the password for a connection to host. The key is read anew each
// time.
func (b *Bridge) token(host string, now time.Time) (string, error) {
	key, err := os.ReadFile(b.cfg.TokenKeyFile)
	if err != nil {
		return "", fmt.Errorf("read the key that tokens are made from (token_key_file): %w", err)
	}
	t, err := signature(host, b.cfg.ClientID, string(bytes.TrimSpace(key)), now.Add(b.profile.tokenLife))
	if err != nil {
		return "", fmt.Errorf("%s: %w", b.cfg.TokenKeyFile, err)
	}
	return t, nil
}

// credentials are user name and password of a connection to host.
func (b *Bridge) credentials(host string) (user, password string, err error) {
	user, password = b.cfg.Username, string(b.cfg.Password)
	if user == "" && b.profile.username != "" {
		user = strings.NewReplacer("{server}", host, "{client}", b.cfg.ClientID).Replace(b.profile.username)
	}
	if b.cfg.TokenKeyFile != "" {
		password, err = b.token(host, time.Now())
	}
	return user, password, err
}

// tokenEnds is when a connection with a token is to be left; 0 for never.
func (b *Bridge) tokenEnds() time.Duration {
	if b.cfg.TokenKeyFile == "" {
		return 0
	}
	return b.profile.tokenLife - b.profile.tokenLife/tokenMargin
}
