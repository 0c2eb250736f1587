// Command filestore loads pairs with client-go's own FileStore, as a kubelet that
// starts on the directory would: one request per line of standard input, one answer
// per line of standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/client-go/util/certificate"
)

type request struct {
	Directory string `json:"directory"`
	Name      string `json:"name"`
}

type answer struct {
	Serial string `json:"serial,omitempty"`
	// NotAfter is in Unix milliseconds.
	NotAfter int64  `json:"notAfter,omitempty"`
	Error    string `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := answers.Encode(answerTo(lines.Bytes())); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func answerTo(line []byte) answer {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: err.Error()}
	}
	found, err := load(asked)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return found
}

func load(asked request) (answer, error) {
	store, err := certificate.NewFileStore(asked.Name, asked.Directory, asked.Directory, "", "")
	if err != nil {
		return answer{}, err
	}
	// Fails as well when the key does not belong to the certificate.
	pair, err := store.Current()
	if err != nil {
		return answer{}, err
	}
	return answer{
		Serial:   fmt.Sprintf("%x", pair.Leaf.SerialNumber),
		NotAfter: pair.Leaf.NotAfter.UnixMilli(),
	}, nil
}
