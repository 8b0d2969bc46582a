//! Which client a request comes from.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;

use crate::HttpSettings;
use crate::guard::X_FORWARDED_FOR;

/// The address of the client, for the login throttle and the audit log. It is the TCP peer, unless that is a trusted
/// proxy: then it is the last entry of `X-Forwarded-For` that is not a trusted proxy itself. Entries before that one are
/// what the client says of itself. `unknown` where there is no peer, in tests.
pub fn client_address(settings: &HttpSettings, request: &HttpRequest) -> String {
    let Some(peer) = request.peer_addr() else {
        return "unknown".to_owned();
    };
    let peer = peer.ip().to_canonical();
    let client = if settings.is_trusted_proxy(peer) {
        forwarded_for(settings, request.headers()).unwrap_or(peer)
    } else {
        peer
    };
    client.to_string()
}

/// `None` too where the entry that counts is no address: what stands before it cannot be trusted any more.
fn forwarded_for(settings: &HttpSettings, headers: &HeaderMap) -> Option<IpAddr> {
    // Several headers of that name are one list, in their order.
    let lists: Vec<_> = headers.get_all(X_FORWARDED_FOR).collect();
    for list in lists.into_iter().rev() {
        for entry in list.to_str().ok()?.rsplit(',') {
            let address = address(entry.trim())?;
            if !settings.is_trusted_proxy(address) {
                return Some(address);
            }
        }
    }
    None
}

/// An address as proxies write it: some add the port, some put IPv6 into brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(text).parse().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// The address of a client behind these lists, with the proxies 127.0.0.1, 10.0.0.1 and 2001:db8::1.
    fn client(peer: &str, lists: &[&str]) -> String {
        let proxies = ["127.0.0.1", "10.0.0.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let settings = HttpSettings::new("127.0.0.1:8080", None).unwrap();
        let settings = settings.with_trusted_proxies(proxies);
        let peer = SocketAddr::new(peer.parse().unwrap(), 9);
        let request = lists
            .iter()
            .fold(TestRequest::default().peer_addr(peer), |request, list| {
                request.append_header((X_FORWARDED_FOR, *list))
            });
        client_address(&settings, &request.to_http_request())
    }

    #[test]
    fn behind_a_trusted_proxy_the_last_entry_that_is_no_proxy_is_the_client() {
        for (lists, found) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (&["198.51.100.9,192.0.2.1 , 10.0.0.1"], "192.0.2.1"),
            (&["198.51.100.9", "192.0.2.1", "10.0.0.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["2001:DB8:0::2"], "2001:db8::2"),
            (&["[2001:db8::2]"], "2001:db8::2"),
            (&["[2001:db8::2]:4711, 2001:db8::1"], "2001:db8::2"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
        ] {
            for peer in ["127.0.0.1", "::ffff:127.0.0.1", "2001:db8::1"] {
                assert_eq!(client(peer, lists), found, "{lists:?} from {peer}");
            }
        }
    }

    #[test]
    fn what_an_untrusted_peer_says_changes_nothing() {
        for peer in ["192.0.2.9", "127.0.0.2", "::1", "2001:db8::9"] {
            assert_eq!(client(peer, &["198.51.100.9"]), peer);
            assert_eq!(client(peer, &["127.0.0.1"]), peer);
        }
        assert_eq!(client("::ffff:192.0.2.9", &["198.51.100.9"]), "192.0.2.9");
    }

    #[test]
    fn a_list_without_a_client_or_with_garbage_where_it_should_stand_leaves_the_proxy() {
        for lists in [
            &[][..],
            &[""],
            &["10.0.0.1, 127.0.0.1"],
            &["192.0.2.1, unknown"],
            &["192.0.2.1, 256.0.0.1"],
            &["192.0.2.1,"],
            &["192.0.2.1", "[::1"],
            &["192.0.2.1, x, 10.0.0.1"],
            &["192.0.2.1, \u{e4}"],
        ] {
            assert_eq!(client("127.0.0.1", lists), "127.0.0.1", "{lists:?}");
        }
        // Garbage before the entry that counts is the client's own.
        assert_eq!(client("127.0.0.1", &["x, 192.0.2.1"]), "192.0.2.1");
    }
}
