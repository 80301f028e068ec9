//! What an action works with: a value, as Go's templates see it.

use std::collections::BTreeMap;
use std::fmt;

use super::numbers::shortest;
use super::{TemplateError, TemplateSample};
use crate::model::Labels;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    /// One that has a text for every name, if only the empty one.
    Labels(Labels),
    Map(BTreeMap<String, Value>),
    Sample(TemplateSample),
}

impl Value {
    /// What it is called in errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nil",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Labels(_) | Self::Map(_) => "map",
            Self::Sample(_) => "sample",
        }
    }

    /// Whether `if` takes it for true: it is not zero, empty or nothing.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Bool(is_true) => *is_true,
            Self::Integer(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Labels(labels) => !labels.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Sample(_) => true,
        }
    }

    /// `.name` of it.
    pub(super) fn field(&self, name: &str) -> Result<Self, TemplateError> {
        match (self, name) {
            (Self::Labels(labels), name) => Ok(Self::Text(labels.value(name).unwrap_or_default().to_owned())),
            (Self::Map(map), name) => Ok(map.get(name).cloned().unwrap_or(Self::Nothing)),
            (Self::Sample(sample), "Labels") => Ok(Self::Labels(sample.labels.clone())),
            (Self::Sample(sample), "Value") => Ok(Self::Float(sample.value)),
            (Self::Nothing, name) => Err(TemplateError::execution(format!("nil pointer evaluating {name}"))),
            (other, name) => {
                Err(TemplateError::execution(format!("can't evaluate field {name} in type {}", other.kind())))
            }
        }
    }

    /// About how many bytes of memory a copy of it takes.
    pub(super) fn size(&self) -> usize {
        let labels =
            |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        size_of::<Self>()
            + match self {
                Self::Nothing | Self::Bool(_) | Self::Integer(_) | Self::Float(_) => 0,
                Self::Text(text) => text.len(),
                Self::List(list) => list.iter().map(Self::size).sum(),
                Self::Labels(of) => labels(of),
                Self::Map(map) => map.iter().map(|(key, value)| key.len() + value.size()).sum(),
                Self::Sample(sample) => labels(&sample.labels),
            }
    }

    /// How many elements or bytes it has.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Text(text) => Some(text.len()),
            Self::List(list) => Some(list.len()),
            Self::Labels(labels) => Some(labels.len()),
            Self::Map(map) => Some(map.len()),
            _ => None,
        }
    }

    /// What `range` goes through: keys and elements.
    pub(super) fn elements(self) -> Result<Vec<(Self, Self)>, TemplateError> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::List(list) => Ok((0..).map(Self::Integer).zip(list).collect()),
            Self::Labels(labels) => {
                let text = |text: &str| Self::Text(text.to_owned());
                Ok(labels.iter().map(|(name, value)| (text(name), text(value))).collect())
            }
            Self::Map(map) => Ok(map.into_iter().map(|(key, value)| (Self::Text(key), value)).collect()),
            other => Err(TemplateError::execution(format!("range can't iterate over {}", other.kind()))),
        }
    }

    /// The text, of a text.
    pub(super) fn text(&self) -> Result<&str, TemplateError> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(wrong("string", other)),
        }
    }

    /// The number in it, also of a text that is one, as Prometheus's functions for numbers take it.
    pub(super) fn number(&self) -> Result<f64, TemplateError> {
        match self {
            Self::Float(number) => Ok(*number),
            #[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
            Self::Integer(number) => Ok(*number as f64),
            Self::Text(text) => {
                let parsed = text.trim().parse();
                parsed.map_err(|_| TemplateError::execution(format!("can't convert {text:?} to float")))
            }
            other => Err(wrong("number", other)),
        }
    }

    pub(super) fn sample(&self) -> Result<&TemplateSample, TemplateError> {
        match self {
            Self::Sample(sample) => Ok(sample),
            other => Err(wrong("sample", other)),
        }
    }
}

pub(super) fn wrong(wanted: &str, found: &Value) -> TemplateError {
    TemplateError::execution(format!("wrong type for value; expected {wanted}; got {}", found.kind()))
}

/// As `fmt.Print` shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("<no value>"),
            Self::Bool(is_true) => write!(f, "{is_true}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => f.write_str(&shortest(*number)),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => {
                f.write_str("[")?;
                spaced(f, list.iter())?;
                f.write_str("]")
            }
            Self::Labels(labels) => show_labels(f, labels),
            Self::Map(map) => {
                f.write_str("map[")?;
                spaced(f, map.iter().map(|(key, value)| format!("{key}:{value}")))?;
                f.write_str("]")
            }
            Self::Sample(sample) => {
                f.write_str("{")?;
                show_labels(f, &sample.labels)?;
                write!(f, " {}}}", shortest(sample.value))
            }
        }
    }
}

fn show_labels(f: &mut fmt::Formatter<'_>, labels: &Labels) -> fmt::Result {
    f.write_str("map[")?;
    spaced(f, labels.iter().map(|(name, value)| format!("{name}:{value}")))?;
    f.write_str("]")
}

fn spaced(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item: fmt::Display>) -> fmt::Result {
    for (n, item) in items.enumerate() {
        let separator = if n == 0 { "" } else { " " };
        write!(f, "{separator}{item}")?;
    }
    Ok(())
}
