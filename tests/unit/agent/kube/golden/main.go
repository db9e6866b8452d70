// Command golden tells what kubectl reads from a text: rows of kubectl.jsonl in, the same rows with their
// outcome out. To renew or extend the table: go run . < kubectl.jsonl > new && mv new kubectl.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"os"

	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

type row struct {
	YAML    string `json:"yaml"`
	Value   any    `json:"value,omitempty"`
	Refused bool   `json:"refused,omitempty"`
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var given row
		if err := json.Unmarshal(in.Bytes(), &given); err != nil {
			panic(err)
		}
		found := row{YAML: given.YAML}
		data, err := yaml.YAMLToJSON([]byte(given.YAML))
		if err == nil {
			err = kjson.UnmarshalCaseSensitivePreserveInts(data, &found.Value)
		}
		found.Refused = err != nil
		if err := out.Encode(found); err != nil {
			panic(err)
		}
	}
}
