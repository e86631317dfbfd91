module example.com/landlock/internal/policyformats

go 1.26.0

require (
	example.com/landlock v0.0.0
	github.com/BurntSushi/toml v1.6.0
	go.yaml.in/yaml/v3 v3.0.6
)

require golang.org/x/sys v0.49.0 // indirect

replace example.com/landlock => ../..
