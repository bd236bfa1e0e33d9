//! Visitors for serde_json: they check everything, and keep the values that the rules need.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use shared_types::Excerpt;

use super::{JsonError, JsonFault, KeySet, Value};
use crate::limits::{MAX_JSON_DEPTH, MAX_JWKS_KEYS};

/// Findings of the visitors beside the value that they return.
#[derive(Default)]
pub(super) struct State {
    fault: Option<JsonFault>,
    member: Option<Excerpt>,
    pub(super) saw_float: bool,
    pub(super) keys_not_an_array: bool,
    pub(super) too_many_keys: bool,
}

impl State {
    /// Ends the parse with an error of our own.
    fn fail<E: de::Error>(&mut self, fault: JsonFault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }

    /// Checks a string that was written with escapes. A string without escapes is borrowed and
    /// cannot hold U+0000: the parser refuses raw control characters (RFC 8259 §7).
    fn check_unescaped<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.contains('\0') {
            return Err(self.fail(JsonFault::NulCharacter));
        }
        Ok(())
    }

    pub(super) fn explain(self, error: &serde_json::Error) -> JsonError {
        let fault = match (self.fault, error.classify()) {
            (Some(fault), _) => fault,
            // The value is of another type than the visitor expects.
            (None, Category::Data) => JsonFault::NotAnObject,
            // These messages are fixed words and a position.
            (None, _) => JsonFault::Syntax(error.to_string().into()),
        };
        JsonError {
            fault,
            member: self.member,
        }
    }
}

/// Reads the outermost object.
pub(super) struct TopSeed<'s> {
    pub(super) state: &'s mut State,
    pub(super) lists: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for TopSeed<'_> {
    type Value = Vec<(Cow<'de, str>, Value<'de>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TopSeed<'_> {
    type Value = Vec<(Cow<'de, str>, Value<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { state, lists } = self;
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(NameSeed(state))? {
            let seed = ValueSeed {
                keep_items: lists.contains(&name.as_ref()),
                walk: Walk { state, depth: 1 },
            };
            match map.next_value_seed(seed) {
                Ok(value) => members.push((name, value)),
                Err(error) => {
                    state.member = Some(Excerpt::new(&name));
                    return Err(error);
                }
            }
        }
        Ok(members)
    }
}

/// Reads a member's name.
struct NameSeed<'s>(&'s mut State);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for NameSeed<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        self.0.check_unescaped(name)?;
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Reads the value of a member at the top.
struct ValueSeed<'s> {
    walk: Walk<'s>,
    keep_items: bool,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.walk.visit_f64(value)?;
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.walk.visit_str(text)?;
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        if !self.keep_items {
            self.walk.visit_seq(seq)?;
            return Ok(Value::Array);
        }
        let mut strings = Some(Vec::new());
        let Walk { state, depth } = self.walk.deeper()?;
        loop {
            let walk = Walk { state, depth };
            let seed = ValueSeed {
                walk,
                keep_items: false,
            };
            match (seq.next_element_seed(seed)?, &mut strings) {
                (None, _) => break,
                (Some(Value::String(item)), Some(items)) => items.push(item),
                _ => strings = None,
            }
        }
        Ok(strings.map_or(Value::Array, Value::Strings))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.walk.visit_map(map)?;
        Ok(Value::Object)
    }
}

/// Checks a value that no rule reads.
///
/// Skipping it (`IgnoredAny`) would let lone surrogates and U+0000 through.
struct Walk<'s> {
    state: &'s mut State,
    /// The number of arrays and objects that enclose the value.
    depth: usize,
}

impl<'s> Walk<'s> {
    /// The walk inside an array or object, unless that would be too deep.
    fn deeper<E: de::Error>(self) -> Result<Walk<'s>, E> {
        if self.depth >= MAX_JSON_DEPTH {
            return Err(self.state.fail(JsonFault::TooDeep));
        }
        Ok(Walk {
            state: self.state,
            depth: self.depth.saturating_add(1),
        })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.state.saw_float = true;
        Ok(())
    }

    fn visit_borrowed_str<E: de::Error>(self, _: &'de str) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.state.check_unescaped(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Walk { state, depth } = self.deeper()?;
        while seq.next_element_seed(Walk { state, depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Walk { state, depth } = self.deeper()?;
        while map.next_key_seed(NameSeed(state))?.is_some() {
            map.next_value_seed(Walk { state, depth })?;
        }
        Ok(())
    }
}

/// Reads the outermost object for the text of one member's value.
pub(super) struct MemberSeed<'s> {
    pub(super) state: &'s mut State,
    pub(super) name: &'s str,
}

impl<'de> DeserializeSeed<'de> for MemberSeed<'_> {
    type Value = Option<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MemberSeed<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key_seed(NameSeed(self.state))? {
            let RawText(value) = map.next_value()?;
            if name == self.name {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Reads the outermost object of a JWK Set.
pub(super) struct KeySetSeed<'s> {
    pub(super) state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for KeySetSeed<'_> {
    type Value = KeySet<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeySetSeed<'_> {
    type Value = KeySet<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let state = self.state;
        let mut keys = None;
        let mut has_kty = false;
        let mut has_jwks_uri = false;
        while let Some(name) = map.next_key_seed(NameSeed(state))? {
            match name.as_ref() {
                "keys" if keys.is_some() => {
                    let name = Excerpt::new(&name);
                    return Err(state.fail(JsonFault::DuplicateMember(name)));
                }
                "keys" => keys = Some(map.next_value_seed(KeysSeed { state })?),
                other => {
                    has_kty |= other == "kty";
                    has_jwks_uri |= other == "jwks_uri";
                    map.next_value_seed(Walk { state, depth: 1 })?;
                }
            }
        }
        let no_keys = KeySet::NoKeys {
            has_kty,
            has_jwks_uri,
        };
        Ok(keys.map_or(no_keys, KeySet::Keys))
    }
}

/// Reads the `keys` array as texts: one bad key must not spoil the others.
struct KeysSeed<'s> {
    state: &'s mut State,
}

impl<'de> DeserializeSeed<'de> for KeysSeed<'_> {
    type Value = Vec<&'de str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        // Undone below: only `visit_seq` continues after it.
        self.state.keys_not_an_array = true;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeysSeed<'_> {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        self.state.keys_not_an_array = false;
        let mut keys = Vec::new();
        while let Some(RawText(key)) = seq.next_element()? {
            if keys.len() >= MAX_JWKS_KEYS {
                self.state.too_many_keys = true;
                return Err(de::Error::custom("refused"));
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

struct RawText<'a>(&'a str);

impl<'de: 'a, 'a> Deserialize<'de> for RawText<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(raw.get()))
    }
}
