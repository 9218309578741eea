package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/insomniacslk/dhcp/iana"
	"github.com/tinkerbell/tinkerbell/pkg/constant"
	"github.com/tinkerbell/tinkerbell/smee"
)

// settings is the file that the lab hands to this program. What it leaves out has Tinkerbell's own
// default, except that nothing is guessed from this host's interfaces.
type settings struct {
	// Hardware names a YAML or JSON file: one list of Hardware objects.
	Hardware string `json:"hardware"`
	// Public is the address of smee that clients are told.
	Public netip.Addr `json:"public"`
	// Bind is where everything but DHCP listens; without it, on Public.
	Bind     netip.Addr       `json:"bind"`
	LogLevel int              `json:"log_level"`
	DHCP     dhcpSettings     `json:"dhcp"`
	TFTP     tftpSettings     `json:"tftp"`
	HTTP     httpSettings     `json:"http"`
	IPXE     ipxeSettings     `json:"ipxe"`
	Tink     tinkSettings     `json:"tink"`
	Syslog   portSettings     `json:"syslog"`
	ISO      isoSettings      `json:"iso"`
	Metadata metadataSettings `json:"metadata"`
}

type dhcpSettings struct {
	Enabled bool `json:"enabled"`
	// Mode is reservation, proxy or auto-proxy.
	Mode        string     `json:"mode"`
	Bind        netip.Addr `json:"bind"`
	Interface   string     `json:"interface"`
	Port        uint16     `json:"port"`
	Netboot     bool       `json:"netboot"`
	IPForPacket netip.Addr `json:"ip_for_packet"`
	SyslogIP    netip.Addr `json:"syslog_ip"`
	TFTPIP      netip.Addr `json:"tftp_ip"`
	TFTPPort    uint16     `json:"tftp_port"`
	BinaryURL   string     `json:"binary_url"`
	ScriptURL   string     `json:"script_url"`
	InjectMAC   bool       `json:"inject_mac"`
}

type tftpSettings struct {
	Enabled    bool    `json:"enabled"`
	Port       uint16  `json:"port"`
	BlockBytes int     `json:"block_bytes"`
	SinglePort bool    `json:"single_port"`
	TimeoutS   float64 `json:"timeout_s"`
	Assets     string  `json:"assets"`
}

type httpSettings struct {
	Enabled bool `json:"enabled"`
	Port    int  `json:"port"`
	// TrustedProxies are networks whose X-Forwarded-For is believed.
	TrustedProxies []string `json:"trusted_proxies"`
	// Assets also serves pxelinux.cfg and the TFTP assets, below AssetsPrefix.
	Assets       bool   `json:"assets"`
	AssetsPrefix string `json:"assets_prefix"`
}

type ipxeSettings struct {
	Binaries        bool     `json:"binaries"`
	Scripts         bool     `json:"scripts"`
	OSIEURL         string   `json:"osie_url"`
	ExtraKernelArgs []string `json:"extra_kernel_args"`
	KernelName      string   `json:"kernel_name"`
	InitrdName      string   `json:"initrd_name"`
	Retries         int      `json:"retries"`
	RetryDelayS     int      `json:"retry_delay_s"`
	MACFormat       string   `json:"mac_format"`
	// Architectures maps values of DHCP's option 93 to other binaries than the usual ones.
	Architectures map[string]string `json:"architectures"`
	// Patch is an iPXE script fragment that is written into served binaries.
	Patch string `json:"patch"`
}

type tinkSettings struct {
	Address     string `json:"address"`
	TLS         bool   `json:"tls"`
	InsecureTLS bool   `json:"insecure_tls"`
}

type portSettings struct {
	Enabled bool   `json:"enabled"`
	Port    uint16 `json:"port"`
}

type isoSettings struct {
	Enabled    bool   `json:"enabled"`
	Upstream   string `json:"upstream"`
	Magic      string `json:"magic"`
	StaticIPAM bool   `json:"static_ipam"`
}

type metadataSettings struct {
	Enabled bool `json:"enabled"`
	// Instances also serves /tootles/instanceID/<id>/….
	Instances bool `json:"instances"`
}

// defaults are what Tinkerbell's own flags default to.
func defaults() settings {
	return settings{
		LogLevel: 1,
		DHCP: dhcpSettings{
			Enabled: true, Mode: "reservation", Bind: netip.IPv4Unspecified(),
			Port: smee.DefaultDHCPPort, Netboot: true, InjectMAC: true,
		},
		TFTP: tftpSettings{
			Enabled: true, Port: smee.DefaultTFFTPPort, BlockBytes: smee.DefaultTFFTPBlockSize,
			SinglePort: smee.DefaultTFFTPSinglePort, TimeoutS: smee.DefaultTFFTPTimeout.Seconds(),
		},
		HTTP:   httpSettings{Enabled: true, Port: 7080, AssetsPrefix: smee.DefaultPXEHTTPPathPrefix},
		IPXE:   ipxeSettings{Binaries: true, Scripts: true, Retries: 1, RetryDelayS: 1},
		Syslog: portSettings{Enabled: true, Port: smee.DefaultSyslogPort},
	}
}

// readSettings refuses a key it does not know: a misspelled one would silently test a default.
func readSettings(path string) (settings, error) {
	read := defaults()
	file, err := os.Open(path)
	if err != nil {
		return read, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&read); err != nil {
		return read, fmt.Errorf("%s: %w", path, err)
	}
	if !read.Public.Is4() {
		return read, fmt.Errorf("%s: public must be an IPv4 address", path)
	}
	if !read.Bind.IsValid() {
		read.Bind = read.Public
	}
	for _, address := range []*netip.Addr{
		&read.DHCP.IPForPacket, &read.DHCP.SyslogIP, &read.DHCP.TFTPIP,
	} {
		if !address.IsValid() {
			*address = read.Public
		}
	}
	if read.DHCP.TFTPPort == 0 {
		read.DHCP.TFTPPort = smee.DefaultTFFTPPort
	}
	host := net.JoinHostPort(read.Public.String(), strconv.Itoa(read.HTTP.Port))
	if read.DHCP.BinaryURL == "" {
		read.DHCP.BinaryURL = "http://" + host + smee.IPXEBinaryURI
	}
	if read.DHCP.ScriptURL == "" {
		read.DHCP.ScriptURL = "http://" + host + smee.IPXEScriptURI + "auto.ipxe"
	}
	return read, nil
}

// smeeConfig says the same in smee's own words.
func (s settings) smeeConfig(backend smee.BackendReader) (*smee.Config, error) {
	config := smee.NewConfig(smee.Config{}, s.Bind)
	config.Backend = backend

	if err := config.DHCP.Mode.Set(s.DHCP.Mode); err != nil {
		return nil, err
	}
	config.DHCP.Enabled = s.DHCP.Enabled
	config.DHCP.EnableNetbootOptions = s.DHCP.Netboot
	config.DHCP.BindAddr = s.DHCP.Bind
	config.DHCP.BindPort = s.DHCP.Port
	config.DHCP.BindInterface = s.DHCP.Interface
	config.DHCP.IPForPacket = s.DHCP.IPForPacket
	config.DHCP.SyslogIP = s.DHCP.SyslogIP
	config.DHCP.TFTPIP = s.DHCP.TFTPIP
	config.DHCP.TFTPPort = s.DHCP.TFTPPort
	config.DHCP.IPXEHTTPScript.InjectMacAddress = s.DHCP.InjectMAC

	for _, each := range []struct {
		text   string
		parsed **url.URL
	}{
		{s.DHCP.BinaryURL, &config.DHCP.IPXEHTTPBinaryURL},
		{s.DHCP.ScriptURL, &config.DHCP.IPXEHTTPScript.URL},
		{s.IPXE.OSIEURL, &config.IPXE.HTTPScriptServer.OSIEURL},
		{s.ISO.Upstream, &config.ISO.UpstreamURL},
	} {
		parsed, err := url.Parse(each.text)
		if err != nil {
			return nil, err
		}
		*each.parsed = parsed
	}

	config.TFTP.Enabled = s.TFTP.Enabled
	config.TFTP.BindAddr = s.Bind
	config.TFTP.BindPort = s.TFTP.Port
	config.TFTP.BlockSize = s.TFTP.BlockBytes
	config.TFTP.SinglePort = s.TFTP.SinglePort
	config.TFTP.Timeout = time.Duration(s.TFTP.TimeoutS * float64(time.Second))
	config.TFTP.AssetDir = s.TFTP.Assets

	config.PXEHTTP.Enabled = s.HTTP.Assets
	config.PXEHTTP.PathPrefix = s.HTTP.AssetsPrefix

	config.Syslog.Enabled = s.Syslog.Enabled
	config.Syslog.BindAddr = s.Bind
	config.Syslog.BindPort = s.Syslog.Port

	config.IPXE.EmbeddedScriptPatch = s.IPXE.Patch
	config.IPXE.HTTPBinaryServer.Enabled = s.IPXE.Binaries
	scripts := &config.IPXE.HTTPScriptServer
	scripts.Enabled = s.IPXE.Scripts
	scripts.Retries = s.IPXE.Retries
	scripts.RetryDelay = s.IPXE.RetryDelayS
	scripts.ExtraKernelArgs = s.IPXE.ExtraKernelArgs
	scripts.KernelName = s.IPXE.KernelName
	scripts.InitrdName = s.IPXE.InitrdName
	scripts.TrustedProxies = s.HTTP.TrustedProxies
	if s.IPXE.MACFormat != "" {
		config.IPXE.IPXEBinary.InjectMacAddrFormat = constant.MACFormat(s.IPXE.MACFormat)
	}
	architectures := map[iana.Arch]constant.IPXEBinary{}
	for number, binary := range s.IPXE.Architectures {
		value, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("ipxe.architectures: %w", err)
		}
		architectures[iana.Arch(value)] = constant.IPXEBinary(binary)
	}
	config.IPXE.IPXEBinary.IPXEArchMapping = architectures

	config.TinkServer.AddrPort = s.Tink.Address
	config.TinkServer.UseTLS = s.Tink.TLS
	config.TinkServer.InsecureTLS = s.Tink.InsecureTLS

	config.ISO.Enabled = s.ISO.Enabled
	config.ISO.PatchMagicString = s.ISO.Magic
	config.ISO.StaticIPAMEnabled = s.ISO.StaticIPAM
	return config, nil
}
