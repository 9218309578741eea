package main

import (
	"context"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/tinkerbell/tinkerbell/pkg/http/handler"
	"github.com/tinkerbell/tinkerbell/pkg/http/middleware"
	"github.com/tinkerbell/tinkerbell/pkg/http/server"
	"github.com/tinkerbell/tinkerbell/smee"
	"github.com/tinkerbell/tinkerbell/tootles"
)

// serveHTTP serves smee's paths, and the metadata's if wanted, with Tinkerbell's own server and its
// own wrapping of handlers, until ctx ends. Tinkerbell does this in a package that can't be imported.
func serveHTTP(
	ctx context.Context, log logr.Logger, s settings, config *smee.Config, metadata tootles.HardwareFilterer,
) error {
	routes := &server.Routes{}
	add := func(pattern string, level int, h http.Handler) {
		if h != nil {
			routes.Register(pattern, middleware.WithLogLevel(level, h), pattern)
		}
	}
	add(smee.IPXEBinaryURI, middleware.LogLevelAlways, config.BinaryHandler(log))
	add(smee.IPXEScriptURI, middleware.LogLevelAlways, config.ScriptHandler(log))
	add(prefix(s.HTTP.AssetsPrefix), middleware.LogLevelAlways, config.PXEHTTPHandler(log))
	iso, err := config.ISOHandler(log)
	if err != nil {
		return err
	}
	add(smee.ISOURI, middleware.LogLevelAlways, iso)
	if s.Metadata.Enabled {
		leaves := tootles.NewConfig(tootles.Config{InstanceEndpoint: s.Metadata.Instances})
		leaves.SetBackendFromFilterer(metadata)
		ec2 := leaves.EC2MetadataHandler()
		add("/2009-04-04/", middleware.LogLevelAlways, ec2)
		if s.Metadata.Instances {
			add("/tootles/", middleware.LogLevelAlways, ec2)
		}
		add("/metadata", middleware.LogLevelAlways, leaves.HackMetadataHandler())
	}
	metrics := promhttp.HandlerFor(smee.MetricsRegistry(), promhttp.HandlerOpts{})
	add("/metrics", middleware.LogLevelNever, metrics)
	add("/smee/metrics", middleware.LogLevelNever, metrics)
	add("/healthcheck", middleware.LogLevelNever, handler.HealthCheck(log, time.Now()))
	add("/healthz", middleware.LogLevelNever, handler.Healthz())
	add("/readyz", middleware.LogLevelNever, handler.Readyz())

	mux, _ := routes.Muxes(log, 0, false)
	wrapped := middleware.OTel("tinkerbell-http")(mux)
	wrapped = middleware.Logging(log)(wrapped)
	wrapped = middleware.Recovery(log)(wrapped)
	wrapped = middleware.RequestMetrics()(wrapped)
	if len(s.HTTP.TrustedProxies) > 0 {
		forwarded, err := middleware.XFF(s.HTTP.TrustedProxies)
		if err != nil {
			return err
		}
		wrapped = forwarded(wrapped)
	}
	wrapped = middleware.SourceIP()(wrapped)
	own := server.NewConfig(func(c *server.Config) {
		c.BindAddr = s.Bind.String()
		c.BindPort = s.HTTP.Port
		c.ShutdownTimeout = time.Second
	})
	return own.Serve(ctx, log, wrapped, nil)
}

// prefix brings a path to the form that a mux matches with all that is below it.
func prefix(given string) string {
	clean := path.Clean("/" + strings.TrimSpace(given))
	return strings.TrimSuffix(clean, "/") + "/"
}
