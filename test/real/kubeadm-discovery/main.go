// Command kubeadm-discovery answers with the code of kubeadm join: one question per line of
// standard input, one answer per line of standard output.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/cluster-bootstrap/token/jws"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm"
	"k8s.io/kubernetes/cmd/kubeadm/app/apis/kubeadm/validation"
	"k8s.io/kubernetes/cmd/kubeadm/app/cmd"
	"k8s.io/kubernetes/cmd/kubeadm/app/discovery"
	"k8s.io/kubernetes/cmd/kubeadm/app/util/pubkeypin"
)

// question has one field.
type question struct {
	Discover *discoverQuestion `json:"discover"`
	Sign     *signQuestion     `json:"sign"`
	Verify   *verifyQuestion   `json:"verify"`
	// Pin is a certificate in PEM.
	Pin []byte `json:"pin"`
	// ClusterInfo asks for the text of cluster-info as kubeadm init writes it.
	ClusterInfo *clusterInfoQuestion `json:"clusterInfo"`
	// Join has the arguments of kubeadm join.
	Join []string `json:"join"`
}

type discoverQuestion struct {
	Endpoint string   `json:"endpoint"`
	Token    string   `json:"token"`
	Pins     []string `json:"pins"`
	// Unsafe is --discovery-token-unsafe-skip-ca-verification.
	Unsafe bool `json:"unsafe"`
	// File replaces the endpoint: the path or URL of a discovery file.
	File           string `json:"file"`
	TimeoutSeconds int    `json:"timeoutSeconds"`
}

type signQuestion struct {
	Content string `json:"content"`
	ID      string `json:"id"`
	Secret  string `json:"secret"`
}

type verifyQuestion struct {
	signQuestion
	Signature string `json:"signature"`
}

type clusterInfoQuestion struct {
	Server      string `json:"server"`
	Authorities []byte `json:"authorities"`
}

// joinFlags is what kubeadm join reads in its arguments.
type joinFlags struct {
	Operands       []string `json:"operands"`
	Token          string   `json:"token"`
	DiscoveryToken string   `json:"discoveryToken"`
	BootstrapToken string   `json:"bootstrapToken"`
	Pins           []string `json:"pins"`
	Unsafe         bool     `json:"unsafe"`
	File           string   `json:"file"`
	NodeName       string   `json:"nodeName"`
	DryRun         bool     `json:"dryRun"`
}

type answer struct {
	Error string `json:"error,omitempty"`
	// Text is a kubeconfig, a signature or a pin.
	Text  string     `json:"text"`
	Valid bool       `json:"valid"`
	Join  *joinFlags `json:"join,omitempty"`
}

func main() {
	addLogFlags()
	// Without warnings in the output of the tests.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
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
		if err := answers.Encode(answerTo(asked)); err != nil {
			fail(err)
		}
	}
}

// addLogFlags adds the flags that kubeadm adds to every command before it parses arguments.
func addLogFlags() {
	var all flag.FlagSet
	klog.InitFlags(&all)
	for _, name := range []string{"v", "vmodule"} {
		flag.CommandLine.Var(all.Lookup(name).Value, name, "")
	}
	pflag.CommandLine.AddGoFlagSet(flag.CommandLine)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func answerTo(asked question) answer {
	found, err := find(asked)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return found
}

func find(asked question) (answer, error) {
	switch {
	case asked.Discover != nil:
		return textOrError(discover(*asked.Discover))
	case asked.Sign != nil:
		return textOrError(jws.ComputeDetachedSignature(asked.Sign.Content, asked.Sign.ID, asked.Sign.Secret))
	case asked.Verify != nil:
		it := asked.Verify
		return answer{Valid: jws.DetachedTokenIsValid(it.Signature, it.Content, it.ID, it.Secret)}, nil
	case asked.Pin != nil:
		return textOrError(pin(asked.Pin))
	case asked.ClusterInfo != nil:
		return textOrError(clusterInfo(*asked.ClusterInfo))
	case asked.Join != nil:
		flags, err := join(asked.Join)
		return answer{Join: flags}, err
	default:
		return answer{}, errors.New("the question is empty")
	}
}

func textOrError(text string, err error) (answer, error) {
	return answer{Text: text}, err
}

// discover returns the kubeconfig that kubeadm join writes to bootstrap-kubelet.conf.
func discover(asked discoverQuestion) (string, error) {
	cfg := &kubeadm.JoinConfiguration{
		Discovery: kubeadm.Discovery{TLSBootstrapToken: asked.Token},
		Timeouts: &kubeadm.Timeouts{
			Discovery: &metav1.Duration{Duration: time.Duration(asked.TimeoutSeconds) * time.Second},
		},
	}
	if asked.File != "" {
		cfg.Discovery.File = &kubeadm.FileDiscovery{KubeConfigPath: asked.File}
	} else {
		cfg.Discovery.BootstrapToken = &kubeadm.BootstrapTokenDiscovery{
			Token:                    asked.Token,
			APIServerEndpoint:        asked.Endpoint,
			CACertHashes:             asked.Pins,
			UnsafeSkipCAVerification: asked.Unsafe,
		}
	}
	if problems := validation.ValidateDiscovery(&cfg.Discovery, field.NewPath("discovery")); len(problems) > 0 {
		return "", problems.ToAggregate()
	}
	found, err := discovery.For(nil, cfg)
	if err != nil {
		return "", err
	}
	text, err := clientcmd.Write(*found)
	return string(text), err
}

func pin(text []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("no PEM block")
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	return pubkeypin.Hash(certificate), nil
}

// clusterInfo is CreateBootstrapConfigMapIfNotExists of kubeadm without the API server.
func clusterInfo(asked clusterInfoQuestion) (string, error) {
	text, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{
			"": {Server: asked.Server, CertificateAuthorityData: asked.Authorities},
		},
	})
	return string(text), err
}

// join parses arguments with the flags of kubeadm join.
func join(args []string) (*joinFlags, error) {
	root := cmd.NewKubeadmCommand(strings.NewReader(""), io.Discard, io.Discard)
	command, _, err := root.Find([]string{"join"})
	if err != nil {
		return nil, err
	}
	if err := command.ParseFlags(args); err != nil {
		return nil, err
	}
	flags := command.Flags()
	if err := command.ValidateArgs(flags.Args()); err != nil {
		return nil, err
	}
	text := func(name string) string { return flags.Lookup(name).Value.String() }
	pins, err := flags.GetStringSlice("discovery-token-ca-cert-hash")
	return &joinFlags{
		Operands:       append([]string{}, flags.Args()...),
		Token:          text("token"),
		DiscoveryToken: text("discovery-token"),
		BootstrapToken: text("tls-bootstrap-token"),
		Pins:           append([]string{}, pins...),
		Unsafe:         text("discovery-token-unsafe-skip-ca-verification") == "true",
		File:           text("discovery-file"),
		NodeName:       text("node-name"),
		DryRun:         text("dry-run") == "true",
	}, err
}
