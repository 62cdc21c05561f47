use super::*;
use proptest::prelude::*;

const DNS_NAME: &str =
    r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?){0,3}";

fn matches(piece: &str, name: &str) -> bool {
    let pattern = Pattern::parse(piece).unwrap_or_else(|error| panic!("{piece}: {error}"));
    pattern.matches(name)
}

/// Appendix A of the contract, section 2.3, and what Go 1.26 answers to the rest.
#[test]
fn matches_as_go_does() {
    for (piece, name, expected) in [
        ("a|b", "apple", true),
        ("a|b", "grab", true),
        ("a|b", "cabin", false),
        ("app-config", "app-config", true),
        ("app-config", "app-config-2", false),
        ("app.config", "app-config", true),
        ("app.config", "app.config", true),
        ("app.config", "appconfig", false),
        ("*", "anything", true),
        ("app-*", "app-", true),
        ("app-*", "app---", true),
        ("app-*", "app-foo", false),
        (".*", "anything", true),
        ("app-.*", "app-", true),
        (".*-config", "app-config", true),
        (".*-config", "app-config-2", false),
        (".*a.b.*", "xxaybzz", true),
        (".*.*", "", true),
        ("(?i)APP", "app", true),
        ("(?i:A)PP", "app", false),
        ("a(?i)*", "aaa", true),
        ("(?-i)app", "app", true),
        ("x{1", "x", false),
        ("x{1", "x{1", true),
        ("x{,3}", "x{,3}", true),
        ("x{01}", "x{01}", true),
        ("3}", "3", false),
        ("x{2}", "xx", true),
        ("x{2,}", "x", false),
        (r"\Qa.b\E", "a.b", true),
        (r"\Qa.b\E", "a-b", false),
        (r"\Qa.b\E*", "a.bbb", true),
        (r"a\", "a", false),
        (r"\Qa", "a", false),
        ("^app$", "app", true),
        ("[^a-c]+", "xyz", true),
        ("[]a]", "]", true),
        ("[a&&b]", "&", true),
        ("[+--]+", "+,-", true),
        ("[--a]", "A", true),
        ("[a~~b]", "~", true),
        ("[[a]", "[", true),
        ("[[:digit:]-]+", "1-2", true),
        ("[^[:^digit:]]", "7", true),
        (r"[\d\-x]+", "1-x", true),
        (r"\d+\.\w+", "12.ab", true),
        (r"\p{Ll}\pN\PL", "a1-", true),
        (r"\p{^Lu}", "a", true),
        ("[é-ü]", "e", false),
        ("(?i)[ſ]\u{212a}", "sk", true),
        (r"\x61\x{62}\143", "abc", true),
        (r"a\b-b", "a-b", true),
        ("(?P<name>a)(?<other>b)", "ab", true),
        ("()|(?:)", "x", true),
        ("", "x", false),
    ] {
        assert_eq!(matches(piece, name), expected, "{piece} on {name}");
    }
}

#[test]
fn rejects_what_go_rejects() {
    use PatternError::*;
    for (piece, error) in [
        ("app-config[", Bracket),
        ("[", Bracket),
        ("[]", Bracket),
        ("a**", NestedRepeat),
        (".**", NestedRepeat),
        ("a*??", NestedRepeat),
        ("a|*", NothingToRepeat),
        ("(*)", NothingToRepeat),
        ("((?i)*)", NothingToRepeat),
        ("a{2,1}", RepeatCount),
        ("a{1001}", RepeatCount),
        ("a{1,1001}", RepeatCount),
        ("(a{100}){11}", RepeatCount),
        ("a{99999999999}", RepeatCount),
        ("(a", OpenGroup),
        ("a)", StrayParenthesis),
        ("a)|(b", StrayParenthesis),
        ("(?=a)", Group),
        ("(?<=a)", Group),
        ("(?x)a", Group),
        ("(?-)a", Group),
        ("(?P<>a)", Group),
        ("[z-a]", Class),
        ("[a--b]", Class),
        ("[[:letters:]]", Class),
        (r"\p{Nope}", Class),
        (r"\pX", Class),
        (r"\1", Escape),
        (r"\y", Escape),
        (r"\C", Escape),
        (r"[\b]", Escape),
        (r"\x{110000}", Escape),
        (r"\xg0", Escape),
    ] {
        assert_eq!(Pattern::parse(piece), Err(error), "{piece}");
    }
}

#[test]
fn complexity_is_bounded() {
    for piece in [
        "((a?.){30}){30}".to_owned(),
        "(".repeat(100_000) + &")".repeat(100_000),
        format!("a{}", "(?i)*".repeat(1000)),
        format!("({})", "ab*|".repeat(50_000)),
    ] {
        assert_eq!(Pattern::parse(&piece), Err(PatternError::TooComplex));
    }
    assert!(matches(".{1,253}", &"x".repeat(253)));
    assert!(matches("[a-z0-9.-]{0,253}", &"x".repeat(253)));
}

#[test]
fn knows_literals() {
    for (piece, literal, only) in [
        ("app-config", true, true),
        ("1", true, true),
        ("app.config.yaml", true, false),
        ("App", false, true),
        ("app_config", false, true),
        ("-app", false, true),
        ("", false, true),
        ("a..b", false, false),
        ("app-.*", false, false),
        ("app[1]", false, false),
    ] {
        let pattern = Pattern::parse(piece).unwrap();
        assert_eq!(pattern.literal().is_some(), literal, "{piece}");
        assert_eq!(pattern.is_literal_only(), only, "{piece}");
        assert_eq!(pattern.as_str(), piece);
    }
    assert!(
        Pattern::parse(&"a".repeat(253))
            .unwrap()
            .literal()
            .is_some()
    );
    assert!(
        Pattern::parse(&"a".repeat(254))
            .unwrap()
            .literal()
            .is_none()
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(piece in r"[-a-c1-3.*+?(){}\[\]|^$:,<>&~\\iPpQExd=]{0,30}|\PC{0,30}") {
        if let Ok(pattern) = Pattern::parse(&piece) {
            pattern.matches("a.b-1");
        }
    }

    #[test]
    fn a_name_matches_itself(name in DNS_NAME) {
        let pattern = Pattern::parse(&name).unwrap();
        prop_assert!(pattern.matches(&name));
        prop_assert_eq!(pattern.literal(), Some(name.as_str()));
        prop_assert_eq!(pattern.is_literal_only(), !name.contains('.'));
    }

    #[test]
    fn wildcards_match_as_compiled(piece in r"([ab]|\.|\.\*){0,8}", name in r"[ab.\n]{0,8}") {
        let compiled = compile(&piece).unwrap();
        prop_assert_eq!(matches(&piece, &name), compiled.is_match(name.as_bytes()));
        prop_assert!(!Pattern::needs_compiling(&piece));
    }

    #[test]
    fn quoting_makes_a_literal(text in r"[ -~]{0,20}", name in r"[a-z.-]{1,20}") {
        let quoted = format!(r"\Q{}\E", text.replace(r"\E", ""));
        prop_assert!(matches(&quoted, &text.replace(r"\E", "")));
        prop_assert_eq!(matches(&quoted, &name), text == name);
    }
}
