// Command signer judges requests as kube-controller-manager's signer of kubelet serving
// certificates does, with its own code: one request or certificate per line of standard
// input, what Go reads in it per line of standard output.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	capi "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/pkg/apis/certificates"
	"k8s.io/kubernetes/pkg/controller/certificates/authority"
)

type question struct {
	// Request and Certificate are PEM; one of them is set.
	Request     []byte   `json:"request"`
	Certificate []byte   `json:"certificate"`
	Usages      []string `json:"usages"`
}

type reading struct {
	// Subject has the type and the value of each attribute.
	Subject [][2]string `json:"subject"`
	DNS     []string    `json:"dns"`
	IPs     []string    `json:"ips"`
	// Others counts e-mail addresses and URIs.
	Others int `json:"others"`
	// Extensions has their types in order.
	Extensions []string `json:"extensions"`
	// KeyDigest is SHA-256 over the SubjectPublicKeyInfo.
	KeyDigest   string `json:"keyDigest"`
	KeyUsage    int    `json:"keyUsage"`
	ExtKeyUsage []int  `json:"extKeyUsage"`
	IsCA        bool   `json:"isCA"`
}

type answer struct {
	Error string   `json:"error,omitempty"`
	Read  *reading `json:"read,omitempty"`
	// Issued is the certificate that the signer's code made of the request.
	Issued *reading `json:"issued,omitempty"`
}

func main() {
	ca, err := newAuthority()
	if err != nil {
		fail(err)
	}
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked question
		if err := json.Unmarshal(line, &asked); err != nil {
			fail(err)
		}
		if err := answers.Encode(answerTo(asked, ca)); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func answerTo(asked question, ca *authority.CertificateAuthority) answer {
	var found answer
	var err error
	if asked.Certificate != nil {
		found.Read, err = readCertificate(asked.Certificate)
	} else {
		found, err = judge(asked, ca)
	}
	if err != nil {
		return answer{Error: err.Error()}
	}
	return found
}

// judge makes the checks of the API server (signature) and of the signer.
func judge(asked question, ca *authority.CertificateAuthority) (answer, error) {
	request, err := certificates.ParseCSR(asked.Request)
	if err != nil {
		return answer{}, err
	}
	if err := request.CheckSignature(); err != nil {
		return answer{}, err
	}
	if err := certificates.ValidateKubeletServingCSR(request, sets.NewString(asked.Usages...)); err != nil {
		return answer{}, err
	}
	usages := make([]capi.KeyUsage, 0, len(asked.Usages))
	for _, usage := range asked.Usages {
		usages = append(usages, capi.KeyUsage(usage))
	}
	der, err := ca.Sign(request.Raw, authority.PermissiveSigningPolicy{TTL: time.Hour, Usages: usages})
	if err != nil {
		return answer{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return answer{}, err
	}
	return answer{Read: readRequest(request), Issued: readParsed(certificate)}, nil
}

func readRequest(request *x509.CertificateRequest) *reading {
	return &reading{
		Subject:    attributes(request.Subject),
		DNS:        append([]string{}, request.DNSNames...),
		IPs:        texts(request.IPAddresses),
		Others:     len(request.EmailAddresses) + len(request.URIs),
		Extensions: types(request.Extensions),
		KeyDigest:  digest(request.RawSubjectPublicKeyInfo),
	}
}

func readCertificate(text []byte) (*reading, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return readParsed(certificate), nil
}

func readParsed(certificate *x509.Certificate) *reading {
	usages := []int{}
	for _, usage := range certificate.ExtKeyUsage {
		usages = append(usages, int(usage))
	}
	return &reading{
		Subject:     attributes(certificate.Subject),
		DNS:         append([]string{}, certificate.DNSNames...),
		IPs:         texts(certificate.IPAddresses),
		Others:      len(certificate.EmailAddresses) + len(certificate.URIs),
		Extensions:  types(certificate.Extensions),
		KeyDigest:   digest(certificate.RawSubjectPublicKeyInfo),
		KeyUsage:    int(certificate.KeyUsage),
		ExtKeyUsage: usages,
		IsCA:        certificate.IsCA,
	}
}

func attributes(name pkix.Name) [][2]string {
	found := [][2]string{}
	for _, attribute := range name.Names {
		found = append(found, [2]string{attribute.Type.String(), fmt.Sprint(attribute.Value)})
	}
	return found
}

func types(extensions []pkix.Extension) []string {
	found := []string{}
	for _, extension := range extensions {
		found = append(found, extension.Id.String())
	}
	return found
}

func texts(addresses []net.IP) []string {
	found := []string{}
	for _, address := range addresses {
		found = append(found, address.String())
	}
	return found
}

func digest(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func newAuthority() (*authority.CertificateAuthority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "ca"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority.CertificateAuthority{Certificate: certificate, PrivateKey: key}, nil
}
