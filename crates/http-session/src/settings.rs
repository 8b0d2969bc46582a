//! Under which names and addresses this server is asked, and by which proxies.

use std::net::IpAddr;

use crate::Authority;

/// What of the settings is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpSettingsError {
    /// The address that the server listens on.
    #[error("BIND is not `host:port`: {0}")]
    Bind(String),
    /// The address that operators use.
    #[error("PUBLIC_URL is not `https://host[:port]` or `http://host[:port]`: {0}")]
    PublicUrl(String),
}

/// Where the server listens and how operators reach it.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    bind: Authority,
    public: Option<Public>,
    trusted_proxies: Vec<IpAddr>,
}

#[derive(Debug, Clone)]
struct Public {
    https: bool,
    authority: Authority,
}

impl Public {
    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }
}

impl HttpSettings {
    /// `bind` is the address as bound (`127.0.0.1:8080`, the real port), `public_url` what operators write into the
    /// browser where that differs: a scheme, a host and a port, nothing else.
    pub fn new(bind: &str, public_url: Option<&str>) -> Result<Self, HttpSettingsError> {
        let wrong = || HttpSettingsError::Bind(bind.to_owned());
        let address: Authority = bind.parse().map_err(|_| wrong())?;
        if address.port().is_none() {
            return Err(wrong());
        }
        let public = match public_url {
            Some(url) => Some(parse_origin(url).ok_or_else(|| HttpSettingsError::PublicUrl(url.to_owned()))?),
            None => None,
        };
        Ok(Self {
            bind: address,
            public,
            trusted_proxies: Vec::new(),
        })
    }

    /// The same with the proxies that are believed when they name the client in `X-Forwarded-For`. None without this.
    #[must_use]
    pub fn with_trusted_proxies(self, proxies: impl IntoIterator<Item = IpAddr>) -> Self {
        let trusted_proxies = proxies.into_iter().map(|proxy| proxy.to_canonical()).collect();
        Self {
            trusted_proxies,
            ..self
        }
    }

    /// Whether a peer is a proxy that is believed.
    pub fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.contains(&peer.to_canonical())
    }

    /// Whether operators come over HTTPS, so that cookies are for HTTPS only.
    pub fn is_https(&self) -> bool {
        self.public.as_ref().is_some_and(|public| public.https)
    }

    /// Whether a request that names `host` is meant for this server.
    pub fn is_own_host(&self, host: &Authority) -> bool {
        self.is_bound_host(host) || self.is_public_host(host)
    }

    /// Whether `host` is the address that this server listens on. A server that listens on every address is known by
    /// any literal address, because only names can be made to point elsewhere.
    pub fn is_bound_host(&self, host: &Authority) -> bool {
        if host.port().unwrap_or(80) != self.bind.port().unwrap_or(80) {
            return false;
        }
        let is_local = host.host() == "localhost" || host.ip().is_some_and(|ip| ip.to_canonical().is_loopback());
        match self.bind.ip().map(|ip: IpAddr| ip.to_canonical()) {
            Some(ip) if ip.is_unspecified() => is_local || host.ip().is_some(),
            Some(ip) if ip.is_loopback() => is_local,
            Some(_) => host.host() == self.bind.host(),
            None => host.host() == self.bind.host() || (self.bind.host() == "localhost" && is_local),
        }
    }

    /// Whether a page of `origin` (an `Origin` header) is one of this server's own, asked as `host`.
    pub fn is_own_origin(&self, origin: &str, host: &Authority) -> bool {
        let Some(origin) = parse_origin(origin) else {
            return false;
        };
        let is_public = self.public.as_ref().is_some_and(|public| {
            public.https == origin.https && public.authority.same_place(&origin.authority, public.default_port())
        });
        is_public || (!origin.https && self.is_bound_host(host) && host.same_place(&origin.authority, 80))
    }

    fn is_public_host(&self, host: &Authority) -> bool {
        let is = |public: &Public| public.authority.same_place(host, public.default_port());
        self.public.as_ref().is_some_and(is)
    }
}

fn parse_origin(text: &str) -> Option<Public> {
    let (https, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest).parse().ok()?;
    Some(Public { https, authority })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knows(settings: &HttpSettings, host: &str) -> bool {
        settings.is_own_host(&host.parse().unwrap())
    }

    #[test]
    fn a_server_on_loopback_is_known_by_the_loopback_names_with_its_port() {
        let settings = HttpSettings::new("127.0.0.1:8080", None).unwrap();
        for host in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"] {
            assert!(knows(&settings, host), "{host}");
        }
        for host in [
            "localhost",
            "localhost:80",
            "127.0.0.1:8081",
            "evil.test:8080",
            "10.0.0.1:8080",
        ] {
            assert!(!knows(&settings, host), "{host}");
        }
    }

    #[test]
    fn a_server_on_one_address_is_known_by_that_address_and_its_public_name() {
        let settings = HttpSettings::new("192.0.2.7:8080", Some("https://panel.example.test")).unwrap();
        for host in ["192.0.2.7:8080", "panel.example.test", "panel.example.test:443"] {
            assert!(knows(&settings, host), "{host}");
        }
        for host in [
            "localhost:8080",
            "panel.example.test:8080",
            "192.0.2.8:8080",
            "example.test",
        ] {
            assert!(!knows(&settings, host), "{host}");
        }
        assert!(settings.is_https());
    }

    #[test]
    fn a_server_on_every_address_is_known_by_addresses_and_not_by_foreign_names() {
        let settings = HttpSettings::new("0.0.0.0:80", None).unwrap();
        assert!(knows(&settings, "192.0.2.7") && knows(&settings, "[2001:db8::1]:80") && knows(&settings, "localhost"));
        assert!(!knows(&settings, "evil.test"));
    }

    #[test]
    fn only_the_servers_own_pages_are_its_origin() {
        let settings = HttpSettings::new("127.0.0.1:8080", Some("https://panel.example.test")).unwrap();
        let own = |origin: &str, host: &str| settings.is_own_origin(origin, &host.parse().unwrap());
        assert!(own("http://localhost:8080", "localhost:8080"));
        assert!(own("https://panel.example.test", "panel.example.test"));
        // A proxy may ask under the bound address for a page of the public one.
        assert!(own("https://panel.example.test", "127.0.0.1:8080"));
        for (origin, host) in [
            ("null", "localhost:8080"),
            ("http://localhost:3000", "localhost:8080"),
            ("http://127.0.0.1:8080", "localhost:8080"),
            ("https://localhost:8080", "localhost:8080"),
            ("http://panel.example.test", "panel.example.test"),
            ("https://evil.test", "panel.example.test"),
            ("https://panel.example.test.evil.test", "panel.example.test"),
        ] {
            assert!(!own(origin, host), "{origin} on {host}");
        }
    }

    #[test]
    fn settings_that_are_no_address_are_named() {
        for bind in ["", "localhost", "127.0.0.1", "http://127.0.0.1:8080"] {
            assert!(
                matches!(HttpSettings::new(bind, None), Err(HttpSettingsError::Bind(_))),
                "{bind:?}"
            );
        }
        for url in [
            "",
            "panel.example.test",
            "ftp://a",
            "https://a/path",
            "https://",
            "https://u@a",
        ] {
            let settings = HttpSettings::new("127.0.0.1:8080", Some(url));
            assert!(matches!(settings, Err(HttpSettingsError::PublicUrl(_))), "{url:?}");
        }
    }
}
