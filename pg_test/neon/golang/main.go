// Verdicts of golang-jwt on tokens, as verify.mjs has them for JavaScript. Debian 12 has version 4,
// and no library that reads a JWKS.
package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"os"

	"github.com/golang-jwt/jwt"
)

type given struct {
	JWKS             struct{ Keys []map[string]interface{} }
	Algorithms       []string
	Issuer, Audience string
	Tokens           map[string]string
}

func number(jwk map[string]interface{}, member string) *big.Int {
	text, _ := jwk[member].(string)
	bytes, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return new(big.Int).SetBytes(bytes)
}

func key(jwk map[string]interface{}) interface{} {
	switch jwk["kty"] {
	case "RSA":
		return &rsa.PublicKey{N: number(jwk, "n"), E: int(number(jwk, "e").Int64())}
	case "EC":
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: number(jwk, "x"), Y: number(jwk, "y")}
	default:
		return ed25519.PublicKey(number(jwk, "x").FillBytes(make([]byte, ed25519.PublicKeySize)))
	}
}

func main() {
	var g given
	if err := json.NewDecoder(os.Stdin).Decode(&g); err != nil {
		panic(err)
	}
	find := func(token *jwt.Token) (interface{}, error) {
		for _, jwk := range g.JWKS.Keys {
			if jwk["kid"] == token.Header["kid"] {
				return key(jwk), nil
			}
		}
		return nil, errors.New("no such key")
	}
	accepted := []string{}
	for what, text := range g.Tokens {
		claims := jwt.MapClaims{}
		_, err := jwt.ParseWithClaims(text, claims, find, jwt.WithValidMethods(g.Algorithms))
		if err == nil && (g.Issuer == "" || claims.VerifyIssuer(g.Issuer, true) && claims.VerifyAudience(g.Audience, true)) {
			accepted = append(accepted, what)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string][]string{"golang-jwt": accepted})
}
