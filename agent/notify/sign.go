package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// signer signs after the Standard Webhooks convention (https://www.standardwebhooks.com, spec/standard-webhooks.md): the
// symmetric signature "v1," + base64(HMAC-SHA-256(key, id + "." + timestamp + "." + body)).
type signer []byte

// minKey is the least that a signing key must have, in bytes: 128 bits.
const minKey = 16

// newSigner takes the base64 of the key after "whsec_", or else the text itself as the key.
func newSigner(secret string) (signer, error) {
	key := []byte(secret)
	if coded, found := strings.CutPrefix(secret, "whsec_"); found {
		var err error
		if key, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return nil, fmt.Errorf("the signing secret has the prefix whsec_, but what follows is not base64")
		}
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("the signing secret has %d bytes, fewer than %d: make one with: echo whsec_$(openssl rand -base64 32)", len(key), minKey)
	}
	return key, nil
}

// sign sets the three headers for a body.
func (s signer) sign(h http.Header, id string, at time.Time, body io.Reader) error {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, s)
	io.WriteString(mac, id+"."+stamp+".") //nolint:errcheck // a hash takes everything
	if _, err := io.Copy(mac, body); err != nil {
		return err
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", stamp)
	h.Set("webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return nil
}

// headerKey is the key as it stands in headers: itself where it is plain, and a digest of it where it is not. A full stop
// would make the signed text ambiguous, which the convention forbids.
func headerKey(key string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_:/-]{1,128}$`).MatchString(key) {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return "sha256-" + hex.EncodeToString(sum[:16])
}
