//! The functions a template can call.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::humanize::{
    go_duration, humanize, humanize_1024, humanize_duration, humanize_percentage, humanize_timestamp,
};
use super::printf::printf;
use super::value::{Value, wrong};
use super::{TemplateError, TemplateSample};
use crate::model::Labels;

type Result<T> = std::result::Result<T, TemplateError>;

/// Those that need more than their arguments are called by [`super::run`].
const FUNCTIONS: &[&str] = &[
    "and",
    "or",
    "not",
    "len",
    "index",
    "slice",
    "print",
    "println",
    "printf",
    "html",
    "js",
    "urlquery",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "query",
    "first",
    "label",
    "value",
    "strvalue",
    "args",
    "sortByLabel",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "title",
    "toUpper",
    "toLower",
    "match",
    "reReplaceAll",
    "graphLink",
    "tableLink",
    "safeHtml",
    "stripPort",
    "stripDomain",
    "parseDuration",
    "toTime",
    "toDuration",
    "now",
    "urlQueryEscape",
    "externalURL",
    "pathPrefix",
];

pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// What a function makes of its arguments.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    match (name, arguments) {
        ("not", [value]) => Ok(Value::Bool(!value.is_true())),
        ("len", [value]) => {
            let length = value.length().ok_or_else(|| wrong("something with a length", value))?;
            Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
        }
        ("index", [value, keys @ ..]) => keys.iter().try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("eq", [one, others @ ..]) if !others.is_empty() => {
            for other in others {
                if equal(one, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [one, other]) => Ok(Value::Bool(!equal(one, other)?)),
        ("lt" | "le" | "gt" | "ge", [one, other]) => compare(name, one, other),
        ("print", values) => Ok(Value::Text(print(values))),
        ("println", values) => Ok(Value::Text(spaced(values) + "\n")),
        ("printf", [format, values @ ..]) => Ok(Value::Text(printf(format.text()?, values))),
        ("args", values) => {
            let named = values.iter().enumerate().map(|(n, value)| (format!("arg{n}"), value.clone()));
            Ok(Value::Map(named.collect()))
        }
        _ => of_results(name, arguments).or_else(|| of_numbers(name, arguments)).unwrap_or_else(|| {
            of_texts(name, arguments).unwrap_or_else(|| {
                Err(TemplateError::execution(format!("wrong number of args for {name}: {}", arguments.len())))
            })
        }),
    }
}

/// Functions of what queries yield.
fn of_results(name: &str, arguments: &[Value]) -> Option<Result<Value>> {
    Some(match (name, arguments) {
        ("first", [Value::List(list)]) => list
            .first()
            .cloned()
            .ok_or_else(|| TemplateError::execution("first() called on vector with no elements")),
        ("first", [other]) => Err(wrong("query result", other)),
        ("value", [sample]) => sample.sample().map(|sample| Value::Float(sample.value)),
        ("label", [name, sample]) => label(name, sample).map(Value::Text),
        ("strvalue", [sample]) => label(&Value::Text("__value__".to_owned()), sample).map(Value::Text),
        ("sortByLabel", [by, Value::List(list)]) => sorted(by, list),
        _ => return None,
    })
}

fn label(name: &Value, sample: &Value) -> Result<String> {
    Ok(sample.sample()?.labels.value(name.text()?).unwrap_or_default().to_owned())
}

fn sorted(by: &Value, list: &[Value]) -> Result<Value> {
    let keyed = list.iter().map(|sample| Ok((label(by, sample)?, sample.clone())));
    let mut keyed = keyed.collect::<Result<Vec<_>>>()?;
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(Value::List(keyed.into_iter().map(|(_, sample)| sample).collect()))
}

/// Functions of one number.
fn of_numbers(name: &str, arguments: &[Value]) -> Option<Result<Value>> {
    let shown: fn(f64) -> String = match name {
        "humanize" => humanize,
        "humanize1024" => humanize_1024,
        "humanizeDuration" => humanize_duration,
        "humanizePercentage" => humanize_percentage,
        "humanizeTimestamp" | "toTime" => humanize_timestamp,
        "toDuration" => go_duration,
        _ => return None,
    };
    let [number] = arguments else { return None };
    Some(number.number().map(|number| Value::Text(shown(number))))
}

/// Functions of texts.
fn of_texts(name: &str, arguments: &[Value]) -> Option<Result<Value>> {
    let [argument] = arguments else { return None };
    if let "html" | "js" | "urlquery" | "safeHtml" = name {
        let text = argument.to_string();
        return Some(Ok(Value::Text(match name {
            "html" => escape_html(&text),
            "js" => serde_json::Value::from(text).to_string().trim_matches('"').to_owned(),
            "urlquery" => query_escape(&text),
            _ => text,
        })));
    }
    let of_text: fn(&str) -> String = match name {
        "title" => title,
        "toUpper" => str::to_uppercase,
        "toLower" => str::to_lowercase,
        "urlQueryEscape" => query_escape,
        "graphLink" => |query| format!("/graph?g0.expr={}&g0.tab=0", query_escape(query)),
        "tableLink" => |query| format!("/graph?g0.expr={}&g0.tab=1", query_escape(query)),
        "stripPort" => |host| strip_port(host).to_owned(),
        "stripDomain" => strip_domain,
        "parseDuration" => return Some(argument.text().and_then(parse_duration)),
        _ => return None,
    };
    Some(argument.text().map(|text| Value::Text(of_text(text))))
}

fn index(value: &Value, key: &Value) -> Result<Value> {
    match (value, key) {
        (Value::List(list), Value::Integer(at)) => {
            let item = usize::try_from(*at).ok().and_then(|at| list.get(at));
            item.cloned().ok_or_else(|| TemplateError::execution(format!("index out of range: {at}")))
        }
        (Value::Labels(_) | Value::Map(_), Value::Text(name)) => value.field(name),
        (value, key) => {
            Err(TemplateError::execution(format!("can't index {} by {}", value.kind(), key.kind())))
        }
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let length = value.length().unwrap_or_default();
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(Value::Integer(bound)) => usize::try_from(*bound)
            .ok()
            .filter(|bound| *bound <= length)
            .ok_or_else(|| TemplateError::execution(format!("index out of range: {bound}"))),
        Some(other) => Err(wrong("int", other)),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    let out_of_range = || TemplateError::execution(format!("invalid slice index: {from} > {to}"));
    match value {
        Value::Text(text) => {
            text.get(from..to).map(|part| Value::Text(part.to_owned())).ok_or_else(out_of_range)
        }
        Value::List(list) => {
            list.get(from..to).map(|part| Value::List(part.to_vec())).ok_or_else(out_of_range)
        }
        other => Err(wrong("something with a length", other)),
    }
}

fn equal(one: &Value, other: &Value) -> Result<bool> {
    match (one, other) {
        (Value::Nothing, other) | (other, Value::Nothing) => Ok(*other == Value::Nothing),
        (Value::Bool(one), Value::Bool(other)) => Ok(one == other),
        _ => Ok(order(one, other)? == Some(Ordering::Equal)),
    }
}

/// Go asks whether it is not the other way round, so that NaN exceeds everything.
fn compare(name: &str, one: &Value, other: &Value) -> Result<Value> {
    let order = order(one, other)?;
    let is_less = order == Some(Ordering::Less);
    let is_at_most = is_less || order == Some(Ordering::Equal);
    Ok(Value::Bool(match name {
        "lt" => is_less,
        "le" => is_at_most,
        "gt" => !is_at_most,
        _ => !is_less,
    }))
}

/// Values of one kind only are compared, as in Go: `eq $value 1` is an error, `eq $value 1.0` is not.
fn order(one: &Value, other: &Value) -> Result<Option<Ordering>> {
    match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => Ok(Some(one.cmp(other))),
        (Value::Float(one), Value::Float(other)) => Ok(one.partial_cmp(other)),
        (Value::Text(one), Value::Text(other)) => Ok(Some(one.cmp(other))),
        (one, other) => Err(TemplateError::execution(format!(
            "incompatible types for comparison: {} and {}",
            one.kind(),
            other.kind()
        ))),
    }
}

/// As `fmt.Sprint`: spaces between two values neither of which is a text.
fn print(values: &[Value]) -> String {
    let mut text = String::new();
    let mut is_after_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_after_text && !is_text {
            text.push(' ');
        }
        text.push_str(&value.to_string());
        is_after_text = is_text;
    }
    text
}

fn spaced(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(" ")
}

fn title(text: &str) -> String {
    let mut is_start = true;
    text.chars()
        .flat_map(|c| {
            let shown: Vec<char> = if is_start { c.to_uppercase().collect() } else { vec![c] };
            is_start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            shown
        })
        .collect()
}

fn parse_duration(text: &str) -> Result<Value> {
    promql_parser::util::parse_duration(text)
        .map(|duration| Value::Float(duration.as_secs_f64()))
        .map_err(|error| TemplateError::execution(format!("not a duration: {text:?}: {error}")))
}

fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// As a part of a URL's query; a space becomes `+`.
fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            byte => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// `host:port` and `[address]:port` without the port, anything else as it is.
fn strip_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if name.starts_with('[') && name.ends_with(']') => &name[1..name.len() - 1],
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

/// The first part of a host's name; an address stays as it is.
fn strip_domain(host_and_port: &str) -> String {
    let host = strip_port(host_and_port);
    if host.parse::<std::net::IpAddr>().is_ok() {
        return host_and_port.to_owned();
    }
    let port = host_and_port.strip_prefix(host).unwrap_or_default();
    format!("{}{port}", host.split('.').next().unwrap_or_default())
}

/// What a query yields, as a template sees it.
pub(super) fn results(samples: &[TemplateSample]) -> Value {
    Value::List(samples.iter().cloned().map(Value::Sample).collect())
}

/// The dot at the top: what `$labels`, `$externalLabels`, `$externalURL` and `$value` stand for.
pub(super) fn top(labels: &Labels, external_labels: &Labels, external_url: &str, value: f64) -> Value {
    Value::Map(BTreeMap::from([
        ("Labels".to_owned(), Value::Labels(labels.clone())),
        ("ExternalLabels".to_owned(), Value::Labels(external_labels.clone())),
        ("ExternalURL".to_owned(), Value::Text(external_url.to_owned())),
        ("Value".to_owned(), Value::Float(value)),
    ]))
}
