package startedbyothers

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serveMCP is a server with one tool: it makes the attempts.
func serveMCP() {
	type where struct{ Dir string }
	server := mcp.NewServer(&mcp.Implementation{Name: "attempts"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "attempts"}, func(_ context.Context, _ *mcp.CallToolRequest, in where) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: attempts(in.Dir)}}}, nil, nil
	})
	server.Run(context.Background(), &mcp.StdioTransport{})
}

// connect starts a server, and has the client talk to it.
func connect(t *testing.T, transport mcp.Transport) (*mcp.ClientSession, error) {
	return mcp.NewClient(&mcp.Implementation{Name: "test"}, nil).Connect(t.Context(), transport, nil)
}

func callAttempts(t *testing.T, session *mcp.ClientSession, p place) {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "attempts", Arguments: map[string]any{"Dir": p.dir}})
	if err != nil {
		t.Fatal(err)
	}
	if text, ok := result.Content[0].(*mcp.TextContent); result.IsError || !ok || text.Text != p.want {
		t.Errorf("the tool answers %+v, want %q", result.Content[0], p.want)
	}
}

func TestMCP(t *testing.T) {
	inEach(t, func(t *testing.T, p place) {
		cmd := p.command(t, "MCP server")
		session, err := connect(t, &mcp.CommandTransport{Command: cmd})
		if err != nil {
			t.Fatal(err)
		}
		callAttempts(t, session, p)
		if err := session.Close(); err != nil || !cmd.ProcessState.Success() {
			t.Errorf("closed: %v, %v", err, cmd.ProcessState)
		}
	})
}

// A server that does not end with its input is signalled.
func TestMCPServerThatStays(t *testing.T) {
	inEach(t, func(t *testing.T, p place) {
		t.Parallel()
		session, err := connect(t, &mcp.CommandTransport{Command: p.command(t, "MCP server that stays"), TerminateDuration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		callAttempts(t, session, p)
		if err := session.Close(); err == nil || err.Error() != "signal: terminated" {
			t.Errorf("closed: %v, want terminated", err)
		}
	})
}

func TestMCPNotAllowed(t *testing.T) {
	cmd := notAllowed(t)
	var said bytes.Buffer
	cmd.Stderr = &said
	if _, err := connect(t, &mcp.CommandTransport{Command: cmd}); err == nil {
		t.Error("connected with a server that is not allowed")
	}
	refused(t, cmd.ProcessState.ExitCode(), said.String())
}
