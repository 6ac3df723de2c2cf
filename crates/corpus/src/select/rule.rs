//! One rule of a selection: what a column's value must or must not be.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A value in a recipe. Manifests hold text, so `is` compares text; a number also equals the same number
/// written otherwise (`10` and `10.0`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
}

/// What one column's value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// `split: dev`: exactly this value.
    One(Scalar),
    /// `split: [train-10min, train-1h]`: one of these.
    Any(Vec<Scalar>),
    /// `{not: …, in: …, min: …, max: …}`: all that is stated.
    Conditions(Conditions),
}

/// What a rule in braces states; at least one of the four.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// None of these values.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_list")]
    pub not: Vec<Scalar>,
    /// One of these values.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_list")]
    pub any: Vec<Scalar>,
    /// At least this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// At most this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Scalar {
    /// Whether a manifest's value is this one.
    pub fn is(&self, text: &str) -> bool {
        let same_number = |number: f64| text.trim().parse() == Ok(number);
        match self {
            Scalar::Text(value) => value == text,
            Scalar::Bool(value) => text == if *value { "true" } else { "false" },
            // Beyond 2^53 neighbouring whole numbers are one f64.
            Scalar::Integer(value) => {
                text == value.to_string() || (value.unsigned_abs() < 1 << 53 && same_number(*value as f64))
            }
            Scalar::Number(value) => same_number(*value),
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => value.fmt(f),
            Scalar::Integer(value) => value.fmt(f),
            Scalar::Number(value) => value.fmt(f),
            Scalar::Text(value) => value.fmt(f),
        }
    }
}

impl Rule {
    /// Whether the rule accepts a column's value, `None` where the utterance has none.
    ///
    /// # Errors
    /// The value, when it is no number and is to be compared as one.
    pub fn accepts(&self, value: Option<&str>) -> Result<bool, String> {
        let is_any = |scalars: &[Scalar]| value.is_some_and(|value| scalars.iter().any(|scalar| scalar.is(value)));
        let conditions = match self {
            Rule::One(scalar) => return Ok(value.is_some_and(|value| scalar.is(value))),
            Rule::Any(scalars) => return Ok(is_any(scalars)),
            Rule::Conditions(conditions) => conditions,
        };
        if is_any(&conditions.not) || (!conditions.any.is_empty() && !is_any(&conditions.any)) {
            return Ok(false);
        }
        if conditions.min.is_none() && conditions.max.is_none() {
            return Ok(true);
        }
        let Some(value) = value else { return Ok(false) };
        let number: f64 = value.trim().parse().map_err(|_| format!("`{}`", crate::error::shortened(value, 40)))?;
        Ok(conditions.min.is_none_or(|min| number >= min) && conditions.max.is_none_or(|max| number <= max))
    }

    /// The values that the rule lists, to be had or not to be had.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Scalar> {
        let (first, second): (&[Scalar], &[Scalar]) = match self {
            Rule::One(scalar) => (std::slice::from_ref(scalar), &[]),
            Rule::Any(scalars) => (scalars, &[]),
            Rule::Conditions(conditions) => (&conditions.not, &conditions.any),
        };
        first.iter().chain(second)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rule::One(scalar) => scalar.serialize(serializer),
            Rule::Any(scalars) => scalars.serialize(serializer),
            Rule::Conditions(conditions) => conditions.serialize(serializer),
        }
    }
}

// Visitors by hand: serde's untagged enums answer every mistake with "did not match any variant".

/// Accepts a scalar, and where allowed a list or a map.
struct Accept {
    list: bool,
    map: bool,
}

impl<'de> Visitor<'de> for Accept {
    type Value = Rule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.list, self.map) {
            (true, true) => "a value, a list of values, or {not: …, in: …, min: …, max: …}",
            (true, false) => "a value or a list of values",
            _ => "a text, a number, true or false",
        })
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Rule, E> {
        Ok(Rule::One(Scalar::Bool(value)))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Rule, E> {
        Ok(Rule::One(Scalar::Integer(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Rule, E> {
        // A number this large can only be a name.
        Ok(Rule::One(i64::try_from(value).map_or_else(|_| Scalar::Text(value.to_string()), Scalar::Integer)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Rule, E> {
        if !value.is_finite() {
            return Err(E::custom(format!("{value} is no finite number")));
        }
        Ok(Rule::One(Scalar::Number(value)))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Rule, E> {
        Ok(Rule::One(Scalar::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rule, A::Error> {
        if !self.list {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut scalars = Vec::new();
        while let Some(scalar) = list.next_element()? {
            scalars.push(scalar);
        }
        if scalars.is_empty() {
            return Err(A::Error::custom("an empty list selects nothing; allowed: at least one value"));
        }
        Ok(Rule::Any(scalars))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
        if !self.map {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self));
        }
        let conditions = Conditions::deserialize(MapAccessDeserializer::new(map))?;
        if conditions == Conditions::default() {
            return Err(A::Error::custom("a rule in braces states at least one of not, in, min, max"));
        }
        for bound in [conditions.min, conditions.max].into_iter().flatten() {
            if !bound.is_finite() {
                return Err(A::Error::custom(format!("{bound} is no finite number")));
            }
        }
        if let (Some(min), Some(max)) = (conditions.min, conditions.max)
            && min > max
        {
            return Err(A::Error::custom(format!("min {min} is above max {max}, which selects nothing")));
        }
        Ok(Rule::Conditions(conditions))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        match deserializer.deserialize_any(Accept { list: false, map: false })? {
            Rule::One(scalar) => Ok(scalar),
            _ => Err(D::Error::custom("allowed: a text, a number, true or false")),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
        deserializer.deserialize_any(Accept { list: true, map: true })
    }
}

fn one_or_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Scalar>, D::Error> {
    match deserializer.deserialize_any(Accept { list: true, map: false })? {
        Rule::One(scalar) => Ok(vec![scalar]),
        Rule::Any(scalars) => Ok(scalars),
        Rule::Conditions(_) => Err(D::Error::custom("allowed: a value or a list of values")),
    }
}
