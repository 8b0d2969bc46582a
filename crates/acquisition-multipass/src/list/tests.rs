use super::*;

const NAME: &str = "pressluft-0123456789ab";

/// The released shape: sorted keys.
const RELEASED: &str = r#"{
    "list": [
        {
            "ipv4": [
            ],
            "name": "other",
            "release": "Ubuntu 22.04 LTS",
            "state": "STATE-OTHER"
        },
        {
            "ipv4": [
                "10.9.8.7",
                "N/A",
                "172.17.0.1"
            ],
            "name": "pressluft-0123456789ab",
            "release": "Ubuntu 24.04 LTS",
            "state": "STATE"
        }
    ]
}
"#;

/// The newest shape: insertion order, and zones.
const NEWEST: &str = r#"{"list":[{"name":"pressluft-0123456789ab","state":"STATE","ipv4":["10.9.8.7","172.17.0.1"],
"release":"Ubuntu 24.04 LTS","zone":{"name":"zone1","available":true}},{"name":"other","state":"STATE-OTHER","ipv4":[],
"release":"","zone":{"name":"zone2","available":false}}]}"#;

fn document(shape: &str, state: &str, other: &str) -> String {
    shape.replace("STATE-OTHER", other).replace("STATE", state)
}

#[test]
fn a_machine_is_found_in_both_shapes_with_its_valid_addresses_in_order() {
    let states = [
        ("Running", State::Running),
        ("Starting", State::Starting),
        ("Restarting", State::Restarting),
        ("Stopped", State::Stopped),
        ("Suspended", State::Suspended),
        ("Suspending", State::Suspending),
        ("Delayed Shutdown", State::DelayedShutdown),
        ("Deleted", State::Deleted),
        ("Unknown", State::Other("Unknown".to_owned())),
        ("running", State::Other("running".to_owned())),
    ];
    for shape in [RELEASED, NEWEST] {
        for (text, state) in &states {
            let found = find(document(shape, text, "Running").as_bytes(), NAME)
                .unwrap()
                .unwrap();
            assert_eq!(found.state, *state);
            let expected: Vec<Ipv4Addr> = vec![[10, 9, 8, 7].into(), [172, 17, 0, 1].into()];
            assert_eq!(found.addresses, expected);
        }
        assert_eq!(find(shape.as_bytes(), "pressluft-0"), Ok(None));
    }
}

#[test]
fn missing_and_odd_keys_leave_a_machine_without_them() {
    let other = |text: &str| State::Other(text.to_owned());
    for (entry, state) in [
        (r#"{"name":"n"}"#, other("")),
        (r#"{"name":"n","state":7,"ipv4":"10.0.0.1"}"#, other("")),
        (
            r#"{"name":"n","state":null,"ipv4":[1,null,{},"::1","10.0.0.256"," "]}"#,
            other(""),
        ),
        (
            r#"{"name":"n","state":"Running","ipv4":["N/A","0.0.0.0","255.255.255.255","127.0.0.2","224.0.0.1"],"more":[{}]}"#,
            State::Running,
        ),
    ] {
        let found = find(format!(r#"{{"x":1,"list":[{entry}]}}"#).as_bytes(), "n")
            .unwrap()
            .unwrap();
        assert_eq!((found.state, found.addresses), (state, vec![]), "{entry}");
    }
}

#[test]
fn what_is_not_understood_is_never_an_absent_machine() {
    for (text, error) in [
        ("", Garbled::NotJson),
        ("{", Garbled::NotJson),
        ("No instances found.", Garbled::NotJson),
        ("{}", Garbled::NoList),
        ("[]", Garbled::NoList),
        (r#"{"list":{}}"#, Garbled::NoList),
        (r#"{"errors":[],"info":{"n":{"state":"Running"}}}"#, Garbled::NoList),
        (r#"{"list":[7]}"#, Garbled::Nameless),
        (r#"{"list":[{"state":"Running"}]}"#, Garbled::Nameless),
        (
            r#"{"list":[{"name":"n"},{"name":"n","state":"Running"}]}"#,
            Garbled::Twice,
        ),
    ] {
        assert_eq!(find(text.as_bytes(), "n"), Err(error), "{text}");
    }
    assert_eq!(find(br#"{"list":[]}"#, "n"), Ok(None));
    // An odd neighbour does not hide a machine that is there.
    assert!(find(br#"{"list":[7,{"name":"n"}]}"#, "n").unwrap().is_some());
}

#[test]
fn bytes_that_are_not_utf8_cost_only_the_text_they_stand_in() {
    let mut bytes = document(NEWEST, "Running", "Stopped").into_bytes();
    let at = bytes.windows(6).position(|window| window == b"Ubuntu").unwrap();
    bytes[at] = 0xff;
    assert_eq!(find(&bytes, NAME).unwrap().unwrap().state, State::Running);
    let at = bytes.windows(7).position(|window| window == b"Running").unwrap();
    bytes[at] = 0xff;
    assert!(matches!(find(&bytes, NAME).unwrap().unwrap().state, State::Other(_)));
}

#[test]
fn versions_are_read_with_and_without_a_daemon() {
    let both = versions(br#"{"multipassd":"1.16.3+mac","multipass":"1.16.3","zone":[]}"#).unwrap();
    assert_eq!(both.daemon.as_deref(), Some("1.16.3+mac"));
    let alone = versions(br#"{"multipass":"1.16.3"}"#).unwrap();
    assert_eq!((alone.client.as_str(), alone.daemon), ("1.16.3", None));
    for text in [
        "",
        "[]",
        "multipass  1.16.3",
        r#"{"multipass":7}"#,
        r#"{"multipassd":"1"}"#,
    ] {
        assert_eq!(versions(text.as_bytes()), None, "{text}");
    }
}

/// Numbers that look random and are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % limit
    }

    /// A JSON value with keys and texts that the parser looks for in it.
    fn value(&mut self, depth: usize) -> Value {
        const WORDS: &[&str] = &[
            "list",
            "name",
            "state",
            "ipv4",
            NAME,
            "Running",
            "N/A",
            "10.0.0.1",
            "",
            "multipassd",
        ];
        let word = |numbers: &mut Self| WORDS[numbers.below(WORDS.len())].to_owned();
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => Value::from(self.below(3)),
            2 | 3 => Value::from(word(self)),
            4 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => Value::Object(
                (0..self.below(5))
                    .map(|_| (word(self), self.value(depth - 1)))
                    .collect(),
            ),
        }
    }
}

/// A document of a random number of machines, in random order, with random extra keys. Ours has `state`, if any.
fn shuffled(numbers: &mut Numbers, state: Option<&str>) -> String {
    let mut entries: Vec<String> = (0..numbers.below(4))
        .map(|at| format!(r#"{{"state":"Running","name":"other{at}","ipv4":["10.0.0.{at}"]}}"#))
        .collect();
    if let Some(state) = state {
        let mut keys = [
            format!(r#""name":"{NAME}""#),
            format!(r#""state":"{state}""#),
            r#""ipv4":["10.9.8.7"]"#.to_owned(),
            r#""release":"Ubuntu 24.04 LTS""#.to_owned(),
            format!(r#""new":{}"#, numbers.value(3)),
        ];
        for at in (1..keys.len()).rev() {
            keys.swap(at, numbers.below(at + 1));
        }
        entries.insert(numbers.below(entries.len() + 1), format!("{{{}}}", keys.join(",")));
    }
    let (list, extra) = (entries.join(","), numbers.value(3));
    if numbers.below(2) == 0 {
        format!(r#"{{"errors":{extra},"list":[{list}]}}"#)
    } else {
        format!(r#"{{"list":[{list}],"zones":{extra}}}"#)
    }
}

#[test]
fn any_order_of_keys_and_any_extra_ones_read_the_same() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2000 {
        let text = shuffled(&mut numbers, Some("Stopped"));
        let found = find(text.as_bytes(), NAME).unwrap().unwrap();
        assert_eq!(
            (found.state, found.addresses),
            (State::Stopped, vec![[10, 9, 8, 7].into()]),
            "{text}"
        );
        let text = shuffled(&mut numbers, None);
        assert_eq!(find(text.as_bytes(), NAME), Ok(None), "{text}");
    }
}

#[test]
fn no_truncated_document_is_a_machine_or_the_absence_of_one() {
    for shape in [RELEASED, NEWEST] {
        let text = document(shape, "Running", "Running");
        let whole = text.trim_end().len();
        for end in 0..whole {
            assert_eq!(find(&text.as_bytes()[..end], NAME), Err(Garbled::NotJson), "{end}");
            assert_eq!(versions(&text.as_bytes()[..end]), None);
        }
    }
    let text = br#"{"multipass":"1.16.3","multipassd":"1.16.3"}"#;
    for end in 0..text.len() {
        assert_eq!(versions(&text[..end]), None, "{end}");
    }
}

#[test]
fn no_damage_makes_a_machine_run_and_none_ends_in_a_panic() {
    let mut numbers = Numbers(0x0123_4567_89ab_cdef);
    for round in 0..20_000 {
        let shape = if round % 2 == 0 { RELEASED } else { NEWEST };
        let mut bytes = document(shape, "Stopped", "Running").into_bytes();
        for _ in 0..=numbers.below(4) {
            let at = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes[at] ^= 1 << numbers.below(8),
                1 => bytes[at] = 0xff,
                2 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[numbers.below(bytes.len())]),
            }
        }
        if let Ok(Some(found)) = find(&bytes, NAME) {
            assert_ne!(found.state, State::Running, "{}", String::from_utf8_lossy(&bytes));
        }
        let _ = versions(&bytes);
    }
}

#[test]
fn any_json_and_any_bytes_are_survived_and_only_a_running_entry_runs() {
    let mut numbers = Numbers(0xfeed_beef_cafe_f00d);
    for _ in 0..20_000 {
        let value = numbers.value(5);
        let text = value.to_string();
        if let Ok(Some(found)) = find(text.as_bytes(), NAME) {
            let entries = value["list"].as_array().unwrap();
            let ours = entries.iter().find(|entry| entry["name"] == NAME).unwrap();
            assert_eq!(found.state == State::Running, ours["state"] == "Running", "{text}");
        }
        let noise: Vec<u8> = (0..numbers.below(64))
            .map(|_| u8::try_from(numbers.below(256)).unwrap())
            .collect();
        assert!(find(&noise, NAME).is_err());
        assert_eq!(versions(&noise), None);
    }
}
