//! A query laid out for reading as Prometheus lays it out: on one line where it fits, otherwise each
//! part on lines of its own, further in the deeper it lies.

use std::fmt::Write as _;

use promql_parser::label::Matcher;
use promql_parser::parser::{
    AggregateExpr, AtModifier, BinaryExpr, Expr, LabelModifier, Offset, SubqueryExpr, VectorMatchCardinality,
    VectorSelector,
};
use promql_parser::util::{display_duration, escape_string};

use super::functions::seconds;
use super::planner::unix_millis;
use super::query::format_value;
use super::tree::matching;

/// Bytes of a line that is not broken.
const LINE_BYTES_MAX: usize = 100;

/// An expression, whose depth the parser has bounded, as a parent so many levels up has it.
pub(super) fn laid_out(expression: &Expr, level: usize) -> String {
    let (indent, line) = ("  ".repeat(level), line(expression));
    let fits = line.len() <= LINE_BYTES_MAX;
    let within = |inner: &Expr| laid_out(inner, level + 1);
    match expression {
        // Prometheus does not indent it.
        Expr::Subquery(_) if fits => line,
        Expr::Subquery(subquery) => laid_out(&subquery.expr, level) + &window(subquery),
        Expr::Unary(unary) => format!("{indent}-{}", laid_out(&unary.expr, level).trim()),
        _ if fits => indent + &line,
        Expr::Aggregate(aggregate) => {
            let parts: Vec<_> =
                aggregate.param.iter().chain([&aggregate.expr]).map(|part| within(part)).collect();
            format!("{indent}{}(\n{}\n{indent})", aggregation(aggregate), parts.join(",\n"))
        }
        Expr::Binary(binary) => {
            format!("{}\n{indent}{}\n{}", within(&binary.lhs), operation(binary), within(&binary.rhs))
        }
        Expr::Paren(paren) => format!("{indent}(\n{}\n{indent})", within(&paren.expr)),
        Expr::Call(call) => {
            let args: Vec<_> = call.args.args.iter().map(|arg| within(arg)).collect();
            format!("{indent}{}(\n{}\n{indent})", call.func.name, args.join(",\n"))
        }
        _ => indent + &line,
    }
}

fn line(expression: &Expr) -> String {
    match expression {
        Expr::Aggregate(aggregate) => {
            let parts: Vec<_> =
                aggregate.param.iter().chain([&aggregate.expr]).map(|part| line(part)).collect();
            format!("{}({})", aggregation(aggregate), parts.join(", "))
        }
        Expr::Unary(unary) => format!("-{}", line(&unary.expr)),
        Expr::Binary(binary) => {
            format!("{} {} {}", line(&binary.lhs), operation(binary), line(&binary.rhs))
        }
        Expr::Paren(paren) => format!("({})", line(&paren.expr)),
        Expr::Subquery(subquery) => line(&subquery.expr) + &window(subquery),
        Expr::NumberLiteral(number) => format_value(number.val),
        Expr::StringLiteral(text) => quoted(&text.val),
        Expr::VectorSelector(of) => series(of) + &times(of.at.as_ref(), of.offset.as_ref()),
        Expr::MatrixSelector(matrix) => {
            let times = times(matrix.vs.at.as_ref(), matrix.vs.offset.as_ref());
            format!("{}[{}]{times}", series(&matrix.vs), display_duration(&matrix.range))
        }
        Expr::Call(call) => {
            let args: Vec<_> = call.args.args.iter().map(|arg| line(arg)).collect();
            format!("{}({})", call.func.name, args.join(", "))
        }
        Expr::Extension(_) => String::new(), // the parser makes none
    }
}

/// `sum by (job) `
fn aggregation(aggregate: &AggregateExpr) -> String {
    match &aggregate.modifier {
        Some(LabelModifier::Exclude(labels)) => {
            format!("{} without ({}) ", aggregate.op, names(&labels.labels))
        }
        Some(LabelModifier::Include(labels)) if !labels.is_empty() => {
            format!("{} by ({}) ", aggregate.op, names(&labels.labels))
        }
        _ => aggregate.op.to_string(),
    }
}

/// `> bool on (job) group_left ()`
fn operation(binary: &BinaryExpr) -> String {
    let mut text = binary.op.to_string();
    if binary.return_bool() {
        text.push_str(" bool");
    }
    let matching = matching(binary).unwrap_or_default();
    let group = match &matching.card {
        VectorMatchCardinality::ManyToOne(include) => Some(("group_left", include)),
        VectorMatchCardinality::OneToMany(include) => Some(("group_right", include)),
        _ => None,
    };
    let labels = matching.matching.as_ref().map_or(&[][..], |labels| &labels.labels().labels[..]);
    let is_on = matching.is_matching_on();
    // Writing to a string does not fail.
    if is_on || !labels.is_empty() || group.is_some() {
        let _ = write!(text, " {} ({})", if is_on { "on" } else { "ignoring" }, names(labels));
    }
    if let Some((word, include)) = group {
        let _ = write!(text, " {word} ({})", names(&include.labels));
    }
    let fill = &matching.fill_values;
    for (word, value) in [("fill_left", fill.lhs), ("fill_right", fill.rhs)] {
        if let Some(value) = value {
            let _ = write!(text, " {word} ({})", format_value(value));
        }
    }
    text
}

/// `[1h:5m] @ end() offset 1m`
fn window(subquery: &SubqueryExpr) -> String {
    let step = subquery.step.as_ref().map(display_duration).unwrap_or_default();
    let times = times(subquery.at.as_ref(), subquery.offset.as_ref());
    format!("[{}:{step}]{times}", display_duration(&subquery.range))
}

/// The name, and in braces the conditions, sorted.
fn series(selector: &VectorSelector) -> String {
    let condition =
        |matcher: &Matcher| format!("{}{}{}", name(&matcher.name), matcher.op, quoted(&matcher.value));
    let mut conditions: Vec<_> = selector.matchers.matchers.iter().map(condition).collect();
    conditions.sort();
    let name = selector.name.as_deref().unwrap_or_default();
    if conditions.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", conditions.join(",")) }
}

fn times(at: Option<&AtModifier>, offset: Option<&Offset>) -> String {
    let at = match at {
        Some(AtModifier::At(time)) => format!(" @ {:.3}", seconds(unix_millis(*time))),
        Some(end) => format!(" {end}"),
        None => String::new(),
    };
    let is_any = |offset: &&Offset| {
        let (Offset::Pos(length) | Offset::Neg(length)) = offset;
        length.as_millis() > 0
    };
    at + &offset.filter(is_any).map(|offset| format!(" offset {offset}")).unwrap_or_default()
}

fn names(labels: &[String]) -> String {
    labels.iter().map(|label| name(label)).collect::<Vec<_>>().join(", ")
}

/// In quotes, unless it could stand without.
fn name(label: &str) -> String {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let is_plain = label.chars().all(is_part) && label.starts_with(|c: char| !c.is_ascii_digit());
    if is_plain { label.to_owned() } else { quoted(label) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escape_string(text))
}

#[cfg(test)]
mod tests {
    use super::super::query::{format_query, parse_query};

    #[track_caller]
    fn check(query: &str, laid_out: &str) {
        assert_eq!(format_query(query).unwrap(), laid_out);
        assert_eq!(parse_query(query).unwrap(), parse_query(laid_out).unwrap(), "{query} means the same");
        assert_eq!(format_query(laid_out).unwrap(), laid_out, "{query} stays as it is");
    }

    #[test]
    fn what_fits_stands_on_one_line() {
        for (query, laid_out) in [
            ("x>1e-5", "x > 0.00001"),
            ("x < 1e21", "x < 1000000000000000000000"),
            ("Inf", "+Inf"),
            ("-inf + NaN", "-Inf + NaN"),
            ("x - Inf", "x - +Inf"),
            ("clamp(x,-Inf,+Inf)", "clamp(x, -Inf, +Inf)"),
            ("- ( x )", "-(x)"),
            (r#"x{Inf="Inf",a='"'}"#, r#"x{Inf="Inf",a="\""}"#),
            ("x @ -5", "x @ -5.000"),
            ("x[5m] @ 1.5 offset -1h30m", "x[5m] @ 1.500 offset -1h30m"),
            ("x[1h:] @ start() offset 1w", "x[1h:] @ start() offset 1w"),
            ("x offset 0.", "x"),
            ("x[5m] offset -0.0001", "x[5m]"),
            ("sum(x)by()", "sum(x)"),
            ("sum(x) without ()", "sum without () (x)"),
            ("topk by(a,b)(3,x)", "topk by (a, b) (3, x)"),
            ("a==bool on()b", "a == bool on () b"),
            ("a > bool on() 1", "a > bool 1"),
            ("a * ignoring() b", "a * b"),
            ("a * ignoring() group_left() b", "a * ignoring () group_left () b"),
            ("a * on(x) group_right(y,z) b", "a * on (x) group_right (y, z) b"),
            (r#"label_join(x,"a",'\n',`b`)"#, r#"label_join(x, "a", "\n", "b")"#),
        ] {
            check(query, laid_out);
        }
    }

    #[test]
    fn conditions_are_sorted() {
        let laid_out = r#"{__name__="x",a=~"d",b!~"c"}"#;
        assert_eq!(format_query(r#"{b!~"c",__name__="x",a=~"d"}"#).unwrap(), laid_out);
    }

    #[test]
    fn what_does_not_fit_is_broken_where_it_is_made_up() {
        let [long, longer] = ["a".repeat(60), "b".repeat(101)];
        check(
            &format!("sum by(job)(rate({long}[5m]))/on(job)group_left() -topk(3,{longer})"),
            &format!(
                "  sum by (job) (rate({long}[5m]))\n/ on (job) group_left ()\n  -topk(\n    3,\n    {longer}\n  )"
            ),
        );
        check(
            &format!("(max_over_time({long}[1h:1m])+clamp_min({longer}, 1))"),
            &format!(
                "(\n    max_over_time({long}[1h:1m])\n  +\n    clamp_min(\n      {longer},\n      1\n    )\n)"
            ),
        );
        check(&format!("max_over_time({longer}[1h:1m])"), &format!("max_over_time(\n  {longer}[1h:1m]\n)"));
    }
}
