// Command client-go keeps a node's certificates with client-go's own certificate
// manager, set up as in the kubelet. The benchmark compares nodecertd with it, so the
// manager does all the work, and nothing here makes it better or worse.
//
// Sources: cmd/kubelet/app/server.go (buildKubeletClientConfig,
// buildClientCertificateManager), pkg/kubelet/certificate/{kubelet,transport}.go and
// pkg/kubelet/certificate/bootstrap/bootstrap.go of k8s.io/kubernetes.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/connrotation"
)

type options struct {
	bootstrapKubeconfig string
	kubeconfig          string
	certDir             string
	nodeName            string
	contentType         string
	serving             bool
	servingIPs          []net.IP
}

func main() {
	opts, err := parseFlags(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parseFlags(args []string) (options, error) {
	var opts options
	var servingIPs string
	flags := flag.NewFlagSet("client-go", flag.ContinueOnError)
	flags.StringVar(&opts.bootstrapKubeconfig, "bootstrap-kubeconfig", "", "kubeconfig with a bootstrap token")
	flags.StringVar(&opts.kubeconfig, "kubeconfig", "", "kubeconfig to write")
	flags.StringVar(&opts.certDir, "cert-dir", "", "directory of the pairs")
	flags.StringVar(&opts.nodeName, "hostname", "", "name of the node")
	flags.StringVar(&opts.contentType, "content-type", "", "media type of requests; protobuf by default, as in client-go")
	flags.BoolVar(&opts.serving, "serving", false, "keep a serving certificate too")
	flags.StringVar(&servingIPs, "serving-ip", "127.0.0.1", "IP SANs of the serving certificate, separated by commas")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if opts.bootstrapKubeconfig == "" || opts.kubeconfig == "" || opts.certDir == "" || opts.nodeName == "" {
		return opts, errors.New("--bootstrap-kubeconfig, --kubeconfig, --cert-dir and --hostname are required")
	}
	for _, text := range strings.Split(servingIPs, ",") {
		ip := net.ParseIP(text)
		if ip == nil {
			return opts, fmt.Errorf("--serving-ip: %q is not an IP address", text)
		}
		opts.servingIPs = append(opts.servingIPs, ip)
	}
	return opts, nil
}

func run(ctx context.Context, opts options) error {
	report := json.NewEncoder(os.Stdout)
	if err := report.Encode(event{Event: "started", At: unixMillis(time.Now())}); err != nil {
		return err
	}
	managers, err := startManagers(ctx, opts)
	if err != nil {
		return err
	}
	return reportChanges(ctx, report, managers)
}

// named is a running manager and where its store keeps the current pair.
type named struct {
	certificate.Manager
	name        string
	currentPath string
}

func startManagers(ctx context.Context, opts options) ([]named, error) {
	store, err := certificate.NewFileStore("kubelet-client", opts.certDir, opts.certDir, "", "")
	if err != nil {
		return nil, err
	}
	bootstrapConfig, clientConfig, err := clientConfigs(opts, store.CurrentPath())
	if err != nil {
		return nil, err
	}
	client, err := certificate.NewManager(&certificate.Config{
		// The bootstrap token until there is a certificate, that certificate afterwards.
		ClientsetFn: func(current *tls.Certificate) (kubernetes.Interface, error) {
			if current == nil {
				return kubernetes.NewForConfig(bootstrapConfig)
			}
			return kubernetes.NewForConfig(clientConfig)
		},
		Template:         &x509.CertificateRequest{Subject: subject(opts.nodeName)},
		SignerName:       certificatesv1.KubeAPIServerClientKubeletSignerName,
		GetUsages:        certificate.DefaultKubeletClientGetUsages,
		CertificateStore: store,
		Ctx:              &ctx,
	})
	if err != nil {
		return nil, err
	}
	managers := []named{{client, "client", store.CurrentPath()}}
	if opts.serving {
		config, err := rotatingConfig(ctx, clientConfig, client)
		if err != nil {
			return nil, err
		}
		serving, err := servingManager(ctx, opts, config)
		if err != nil {
			return nil, err
		}
		managers = append(managers, serving)
	}
	for _, manager := range managers {
		manager.Start()
	}
	return managers, nil
}

// clientConfigs returns the configuration with the bootstrap token and the one with
// the issued pair, and writes the latter to the kubeconfig file.
func clientConfigs(opts options, pairPath string) (*rest.Config, *rest.Config, error) {
	bootstrap, err := clientcmd.BuildConfigFromFlags("", opts.bootstrapKubeconfig)
	if err != nil {
		return nil, nil, err
	}
	bootstrap.ContentType = opts.contentType
	issued := rest.AnonymousClientConfig(bootstrap)
	issued.CertFile, issued.KeyFile = pairPath, pairPath
	return bootstrap, issued, writeKubeconfig(opts.kubeconfig, issued)
}

func writeKubeconfig(path string, config *rest.Config) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"default-cluster": {
			Server:                   config.Host,
			CertificateAuthority:     config.CAFile,
			CertificateAuthorityData: config.CAData,
		}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"default-auth": {
			ClientCertificate: config.CertFile,
			ClientKey:         config.KeyFile,
		}},
		Contexts: map[string]*clientcmdapi.Context{"default-context": {
			Cluster:   "default-cluster",
			AuthInfo:  "default-auth",
			Namespace: "default",
		}},
		CurrentContext: "default-context",
	}, path)
}

func servingManager(ctx context.Context, opts options, config *rest.Config) (named, error) {
	store, err := certificate.NewFileStore("kubelet-server", opts.certDir, opts.certDir, "", "")
	if err != nil {
		return named{}, err
	}
	manager, err := certificate.NewManager(&certificate.Config{
		ClientsetFn: func(*tls.Certificate) (kubernetes.Interface, error) {
			return kubernetes.NewForConfig(config)
		},
		GetTemplate: func() *x509.CertificateRequest {
			return &x509.CertificateRequest{Subject: subject(opts.nodeName), IPAddresses: opts.servingIPs}
		},
		SignerName:       certificatesv1.KubeletServingSignerName,
		GetUsages:        certificate.DefaultKubeletServingGetUsages,
		CertificateStore: store,
		Ctx:              &ctx,
	})
	return named{manager, "serving", store.CurrentPath()}, err
}

// rotatingConfig takes its client certificate from the manager at each handshake,
// and closes all connections when the manager has a new one (addCertRotation in
// the kubelet's transport.go).
func rotatingConfig(ctx context.Context, base *rest.Config, manager certificate.Manager) (*rest.Config, error) {
	config := rest.AnonymousClientConfig(base)
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, err
	}
	tlsConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if current := manager.Current(); current != nil {
			return current, nil
		}
		return &tls.Certificate{}, nil
	}
	dialer := connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext)
	config.Transport = utilnet.SetTransportDefaults(&http.Transport{
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     tlsConfig,
		DialContext:         dialer.DialContext,
	})
	// The transport has them now, and a config may not say both.
	config.TLSClientConfig = rest.TLSClientConfig{}
	go closeOnRotation(ctx, dialer, manager)
	return config, nil
}

// closeOnRotation looks every second until there is a certificate and every ten
// seconds from then on, as the kubelet does.
func closeOnRotation(ctx context.Context, dialer *connrotation.Dialer, manager certificate.Manager) {
	last := manager.Current()
	for {
		period := 10 * time.Second
		if last == nil {
			period = time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(period):
		}
		if current := manager.Current(); current != last {
			last = current
			dialer.CloseAll()
		}
	}
}

func subject(nodeName string) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + nodeName, Organization: []string{"system:nodes"}}
}

// event is one line of output.
type event struct {
	Event string  `json:"event"`
	Name  string  `json:"name,omitempty"`
	Path  string  `json:"path,omitempty"`
	At    float64 `json:"at"`
}

// reportChanges prints a line whenever a manager has another certificate. Once a
// second is enough: the harness measures on the files, not on these lines.
func reportChanges(ctx context.Context, report *json.Encoder, managers []named) error {
	last := make([]*tls.Certificate, len(managers))
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			for i, manager := range managers {
				current := manager.Current()
				if current == nil || current == last[i] {
					continue
				}
				last[i] = current
				path, err := filepath.EvalSymlinks(manager.currentPath)
				if err != nil {
					// The store removes the link before it renames the new one into its place.
					path = manager.currentPath
				}
				if err := report.Encode(event{"stored", manager.name, path, unixMillis(now)}); err != nil {
					return err
				}
			}
		}
	}
}

func unixMillis(t time.Time) float64 {
	return float64(t.UnixMicro()) / 1000
}
