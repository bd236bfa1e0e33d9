//! JSON objects (RFC 8259), read strictly and in one pass.
//!
//! serde_json parses. This module adds rules that it does not have: no duplicate member names at
//! the top, no U+0000 (some databases cannot store it), an exact limit on nesting, and no number
//! whose digits take much more space than its text.

mod number;
mod visitor;

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeSeed;
use serde_json::error::Category;

use self::visitor::{KeySetSeed, MemberSeed, State, TopSeed};
use crate::limits::MAX_JSON_DEPTH;
use shared_types::Excerpt;

/// Why a text is not an acceptable JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// The bytes are not UTF-8 (RFC 8259 §8.1).
    NotUtf8,
    /// The text is JSON, but not an object.
    NotAnObject,
    /// The text is not JSON. The parser's reason quotes nothing of it.
    Syntax(Box<str>),
    /// Two members at the top have the same name (RFC 7515 §4, RFC 7519 §4).
    DuplicateMember(Excerpt),
    /// Arrays and objects nest deeper than [`MAX_JSON_DEPTH`].
    TooDeep,
    /// A string or a name holds U+0000.
    NulCharacter,
    /// A number has an exponent beyond
    /// [`MAX_NUMBER_EXPONENT`](crate::limits::MAX_NUMBER_EXPONENT), or too many
    /// digits.
    NumberOutOfRange,
}

/// Reason why a text is not an acceptable JSON object, and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// The fault.
    pub fault: JsonFault,
    /// The member at the top in whose value it was found, if in one.
    pub member: Option<Excerpt>,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            JsonFault::NotUtf8 => write!(f, "is not UTF-8"),
            JsonFault::NotAnObject => write!(f, "is not a JSON object"),
            JsonFault::Syntax(reason) => write!(f, "is not JSON: {reason}"),
            JsonFault::DuplicateMember(name) => write!(f, "has two members {name}"),
            JsonFault::TooDeep => write!(f, "nests deeper than {MAX_JSON_DEPTH} levels"),
            JsonFault::NulCharacter => write!(f, "holds the character U+0000"),
            JsonFault::NumberOutOfRange => write!(f, "holds a number that is out of range"),
        }?;
        match &self.member {
            Some(member) => write!(f, ", in member {member}"),
            None => Ok(()),
        }
    }
}

impl From<JsonFault> for JsonError {
    fn from(fault: JsonFault) -> Self {
        Self {
            fault,
            member: None,
        }
    }
}

/// A member's value, as far as the rules need it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    String(Cow<'a, str>),
    /// An array that contains only strings, if the reader asked for its items.
    Strings(Vec<Cow<'a, str>>),
    Array,
    Object,
}

impl Value<'_> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The type of the value, for messages.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Unsigned(_) | Self::Signed(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Strings(_) | Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// A JSON object whose text was checked in full.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// Sorted by name.
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// Reads `text`, and keeps the items of those arrays of strings at the top that `lists` names.
    pub(crate) fn parse(text: &'a str, lists: &'static [&'static str]) -> Result<Self, JsonError> {
        let mut state = State::default();
        let seed = TopSeed {
            state: &mut state,
            lists,
        };
        let mut members = match parse_document(text, seed) {
            Ok(members) => members,
            Err(error) => return Err(state.explain(&error)),
        };

        // Only numbers that serde_json does not read as integers can have an exponent or many
        // digits.
        if state.saw_float && !number::all_fit(text) {
            return Err(JsonFault::NumberOutOfRange.into());
        }
        // Sorting finds duplicates in a time that does not depend on the choice of names.
        members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let duplicate = members
            .array_windows()
            .find(|[(first, _), (second, _)]| first == second);
        match duplicate {
            Some([(name, _), _]) => Err(JsonFault::DuplicateMember(Excerpt::new(name)).into()),
            None => Ok(Self { members }),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let found = self
            .members
            .binary_search_by(|(member, _)| member.as_ref().cmp(name));
        let (_, value) = self.members.get(found.ok()?)?;
        Some(value)
    }
}

/// The value of a member at the top as it is written in `text`, which [`Object::parse`] has accepted.
pub(crate) fn member_text<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut state = State::default();
    let seed = MemberSeed {
        state: &mut state,
        name,
    };
    parse_document(text, seed).ok().flatten()
}

/// The relevant members of a JWK Set (RFC 7517 §5). Each key is still text.
#[derive(Debug)]
pub(crate) enum KeySet<'a> {
    /// There is a `keys` array.
    Keys(Vec<&'a str>),
    /// There is no `keys`. The object may be a key itself, or a discovery document.
    NoKeys { has_kty: bool, has_jwks_uri: bool },
    /// `keys` is not an array.
    KeysNotAnArray,
    /// The array is longer than [`MAX_JWKS_KEYS`](crate::limits::MAX_JWKS_KEYS).
    TooManyKeys,
}

impl<'a> KeySet<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, JsonError> {
        let mut state = State::default();
        let seed = KeySetSeed { state: &mut state };
        match parse_document(text, seed) {
            Ok(set) => Ok(set),
            Err(_) if state.too_many_keys => Ok(Self::TooManyKeys),
            Err(error) if state.keys_not_an_array && error.classify() == Category::Data => {
                Ok(Self::KeysNotAnArray)
            }
            Err(error) => Err(state.explain(&error)),
        }
    }
}

fn parse_document<'de, S: DeserializeSeed<'de>>(
    text: &'de str,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Its own limit allows 127 levels; `Walk` counts instead.
    deserializer.disable_recursion_limit();
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_JWKS_KEYS;

    fn fault(text: &str) -> JsonFault {
        Object::parse(text, &["list"]).unwrap_err().fault
    }

    fn nested(depth: usize) -> String {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(depth - 1),
            "]".repeat(depth - 1)
        )
    }

    #[test]
    fn keeps_what_the_rules_look_at() {
        let text = r#"{"s":"x","\u0065":"\u0041","n":null,"u":18446744073709551615,"i":-1,
            "f":1.5,"list":["a","\u0062"],"other":["a"],"o":{"s":"y"},"b":true}"#;
        let object = Object::parse(text, &["list"]).unwrap();
        assert_eq!(object.get("s"), Some(&Value::String("x".into())));
        assert_eq!(object.get("e"), Some(&Value::String("A".into())));
        assert_eq!(object.get("n"), Some(&Value::Null));
        assert_eq!(object.get("u"), Some(&Value::Unsigned(u64::MAX)));
        assert_eq!(object.get("i"), Some(&Value::Signed(-1)));
        assert_eq!(object.get("f"), Some(&Value::Float(1.5)));
        assert_eq!(object.get("b"), Some(&Value::Bool(true)));
        assert_eq!(object.get("o"), Some(&Value::Object));
        assert_eq!(object.get("other"), Some(&Value::Array));
        let items = vec!["a".into(), "b".into()];
        assert_eq!(object.get("list"), Some(&Value::Strings(items)));
        assert_eq!(object.get("S"), None);
    }

    #[test]
    fn a_list_with_anything_but_strings_is_an_array() {
        for text in [
            r#"{"list":["a",1]}"#,
            r#"{"list":[["a"]]}"#,
            r#"{"list":[null]}"#,
        ] {
            let object = Object::parse(text, &["list"]).unwrap();
            assert_eq!(object.get("list"), Some(&Value::Array), "{text}");
        }
        let object = Object::parse(r#"{"list":[]}"#, &["list"]).unwrap();
        assert_eq!(object.get("list"), Some(&Value::Strings(vec![])));
    }

    #[test]
    fn only_an_object() {
        for text in ["[]", "\"x\"", "1", "null", "true", "1.5", "-1"] {
            assert_eq!(fault(text), JsonFault::NotAnObject, "{text}");
        }
        for text in [
            "",
            "{",
            "{}{}",
            "{}x",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "\u{feff}{}",
        ] {
            assert!(matches!(fault(text), JsonFault::Syntax(_)), "{text}");
        }
    }

    #[test]
    fn duplicates_at_the_top_only() {
        let duplicate = JsonFault::DuplicateMember(Excerpt::new("a"));
        assert_eq!(fault(r#"{"a":1,"b":2,"\u0061":1}"#), duplicate);
        assert!(Object::parse(r#"{"o":{"a":1,"a":2}}"#, &[]).is_ok());
    }

    #[test]
    fn depth_is_counted_exactly() {
        assert!(Object::parse(&nested(128), &[]).is_ok());
        assert_eq!(fault(&nested(129)), JsonFault::TooDeep);
        assert_eq!(fault(&nested(30_000)), JsonFault::TooDeep);
        let list = |depth| format!("{{\"list\":{}", nested(depth).split_off(5));
        assert!(Object::parse(&list(128), &["list"]).is_ok());
        assert_eq!(fault(&list(129)), JsonFault::TooDeep);
        let objects = format!("{}1{}", "{\"a\":".repeat(129), "}".repeat(129));
        assert_eq!(fault(&objects), JsonFault::TooDeep);
    }

    #[test]
    fn no_nul_and_no_lone_surrogate_anywhere() {
        for place in [
            r#"{"a":"@"}"#,
            r#"{"@":1}"#,
            r#"{"list":["@"]}"#,
            r#"{"a":[{"b":"@"}]}"#,
            r#"{"a":[{"@":1}]}"#,
        ] {
            let with = |text: &str| fault(&place.replace('@', text));
            assert_eq!(with(r"x\u0000"), JsonFault::NulCharacter);
            assert!(matches!(with(r"\ud800"), JsonFault::Syntax(_)));
            assert!(matches!(with(r"\udc00"), JsonFault::Syntax(_)));
            assert!(matches!(with("\0"), JsonFault::Syntax(_)));
            let fine = place.replace('@', r"\ud83d\ude00\\u0000");
            assert!(Object::parse(&fine, &["list"]).is_ok());
        }
    }

    #[test]
    fn numbers_that_postgres_holds() {
        let number = |text: &str| Object::parse(&format!("{{\"a\":{text}}}"), &[]).map(|_| ());
        for fine in [
            "1e-400".to_owned(),
            "1e308".to_owned(),
            "-1.5E+10".to_owned(),
            "1e-1000".to_owned(),
            "-0".to_owned(),
            "9".repeat(300),
            format!("0.{}", "1".repeat(16_383)),
            "1".repeat(40),
        ] {
            assert_eq!(number(&fine), Ok(()), "{fine:.20}");
        }
        for bad in [
            "1e-1001".to_owned(),
            "1e-99999999999999999999".to_owned(),
            "0e1001".to_owned(),
            "0e-99999".to_owned(),
            format!("0.{}", "1".repeat(16_384)),
            format!("0.{}e-1000", "1".repeat(15_384)),
        ] {
            let error = JsonError::from(JsonFault::NumberOutOfRange);
            assert_eq!(number(&bad), Err(error), "{bad:.20}");
        }
        let beyond_a_double = number("1e400").unwrap_err();
        assert!(matches!(beyond_a_double.fault, JsonFault::Syntax(_)));
        assert_eq!(beyond_a_double.member, Some(Excerpt::new("a")));
        // Strings contain no numbers.
        assert!(Object::parse(r#"{"a":"\"1e9999","b":1.5,"1e9999":"\\"}"#, &[]).is_ok());
    }

    #[test]
    fn numbers_are_numbers() {
        // With serde_json's arbitrary_precision this object would count as a number, and numbers as
        // objects: that feature must stay off.
        let text = r#"{"a":{"$serde_json::private::Number":"1"},"b":1.5}"#;
        let object = Object::parse(text, &[]).unwrap();
        assert_eq!(object.get("a"), Some(&Value::Object));
        assert_eq!(object.get("b"), Some(&Value::Float(1.5)));
    }

    #[test]
    fn a_member_as_it_is_written() {
        let text = r#"{"n" : 1.50E+2 ,"\u0061":"\u0041","o":{"n":1,"x":[{}]},"e":-0}"#;
        assert!(Object::parse(text, &[]).is_ok());
        assert_eq!(member_text(text, "n"), Some("1.50E+2"));
        assert_eq!(member_text(text, "a"), Some(r#""\u0041""#));
        assert_eq!(member_text(text, "o"), Some(r#"{"n":1,"x":[{}]}"#));
        assert_eq!(member_text(text, "e"), Some("-0"));
        assert_eq!(member_text(text, "x"), None);
        let deep = format!("{{\"a\":{},\"n\":7}}", nested(127));
        assert_eq!(member_text(&deep, "n"), Some("7"));
    }

    #[test]
    fn says_in_which_member() {
        let error = Object::parse(r#"{"a":1,"exp":[01]}"#, &[]).unwrap_err();
        assert_eq!(error.member, Some(Excerpt::new("exp")));
        assert_eq!(
            error.to_string(),
            "is not JSON: invalid number at line 1 column 16, in member \"exp\""
        );
        let error = Object::parse(r#"{"a":1 "b":2}"#, &[]).unwrap_err();
        assert_eq!(error.member, None);
    }

    #[test]
    fn key_sets() {
        let keys = |text: &'static str| KeySet::parse(text);
        let set = keys(r#"{"x":[1],"\u006beys":[ {"a" : 1}, 2 ,null]}"#).unwrap();
        assert!(matches!(set, KeySet::Keys(keys) if keys == [r#"{"a" : 1}"#, "2", "null"]));
        let single = keys(r#"{"kty":"RSA"}"#).unwrap();
        assert!(matches!(single, KeySet::NoKeys { has_kty: true, .. }));
        for bad in [
            r#"{"keys":null}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":"x"}"#,
            r#"{"keys":1}"#,
        ] {
            assert!(
                matches!(keys(bad).unwrap(), KeySet::KeysNotAnArray),
                "{bad}"
            );
        }
        let duplicate = keys(r#"{"keys":[],"keys":[]}"#).unwrap_err();
        assert!(matches!(duplicate.fault, JsonFault::DuplicateMember(_)));
        assert_eq!(keys("[]").unwrap_err().fault, JsonFault::NotAnObject);
        let many = format!("{{\"keys\":[{}0]}}", "0,".repeat(MAX_JWKS_KEYS));
        assert!(matches!(KeySet::parse(&many).unwrap(), KeySet::TooManyKeys));
    }
}
