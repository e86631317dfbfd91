package startedbyothers

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
)

var handshake = plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "ATTEMPTS", MagicCookieValue: "yes"}

// attempter is a plugin that makes the attempts, by net/rpc.
type attempter struct{}

func (attempter) Attempts(dir string, answer *string) error {
	*answer = attempts(dir)
	return nil
}

func (a attempter) Server(*plugin.MuxBroker) (any, error)                { return a, nil }
func (attempter) Client(_ *plugin.MuxBroker, c *rpc.Client) (any, error) { return c, nil }

func servePlugin() {
	plugin.Serve(&plugin.ServeConfig{HandshakeConfig: handshake, Plugins: plugin.PluginSet{"attempter": attempter{}}, Logger: hclog.NewNullLogger()})
}

func config(cmd *exec.Cmd) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"attempter": attempter{}},
		Cmd:             cmd,
		AutoMTLS:        true,
		SkipHostEnv:     true, // which would come after cmd.Env, with another TMPDIR
		Logger:          hclog.NewNullLogger(),
	}
}

// pluginCommand returns a plugin, which makes its socket where it may.
func pluginCommand(t *testing.T, p place) *exec.Cmd {
	cmd := p.command(t, "plugin")
	cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(p.dir, allowed))
	return cmd
}

func TestPlugin(t *testing.T) {
	inEach(t, func(t *testing.T, p place) {
		cmd := pluginCommand(t, p)
		client := plugin.NewClient(config(cmd))
		defer client.Kill()
		protocol, err := client.Client()
		if err != nil {
			t.Fatal(err)
		}
		dispensed, err := protocol.Dispense("attempter")
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if err := dispensed.(*rpc.Client).Call("Plugin.Attempts", p.dir, &got); err != nil || got != p.want {
			t.Errorf("the plugin answers %q, %v, want %q", got, err, p.want)
		}
		client.Kill()
		if !client.Exited() || !cmd.ProcessState.Success() {
			t.Errorf("after Kill: %v", cmd.ProcessState)
		}
	})
}

func TestPluginNotAllowed(t *testing.T) {
	cmd := notAllowed(t)
	var said bytes.Buffer
	config := config(cmd)
	config.Stderr = &said
	client := plugin.NewClient(config)
	_, err := client.Start()
	if err == nil {
		t.Error("a plugin that is not allowed has started")
	}
	client.Kill()
	refused(t, cmd.ProcessState.ExitCode(), said.String())
}

// A SecureConfig is for the file that is started, which after Wrap is not the
// plugin: it is checked before.
func TestPluginWithChecksum(t *testing.T) {
	file, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	inEach(t, func(t *testing.T, p place) {
		cmd := pluginCommand(t, place{dir: p.dir})
		secure := &plugin.SecureConfig{Checksum: sum[:], Hash: sha256.New()}
		if ok, err := secure.Check(cmd.Path); !ok || err != nil {
			t.Errorf("before Wrap: %t, %v", ok, err)
		}
		p.wrap(t, cmd)
		config := config(cmd)
		config.SecureConfig = &plugin.SecureConfig{Checksum: sum[:], Hash: sha256.New()}
		client := plugin.NewClient(config)
		defer client.Kill()
		_, err := client.Start()
		if p.sandbox == nil && err != nil || p.sandbox != nil && !errors.Is(err, plugin.ErrChecksumsDoNotMatch) {
			t.Errorf("started with SecureConfig: %v", err)
		}
	})
}
