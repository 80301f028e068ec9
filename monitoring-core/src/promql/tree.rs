//! The syntax tree of a query in Prometheus's JSON, as its `web/api/v1/translate_ast.go` writes it.

use std::time::Duration;

use promql_parser::label::Matcher;
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AtModifier, BinModifier, BinaryExpr, Call, Expr, LabelModifier, SubqueryExpr, VectorMatchCardinality,
    VectorSelector,
};
use serde_json::{Value, json};

use super::labels::NAME;
use super::planner::{millis, offset_millis, unix_millis};
use super::query::format_value;

/// The tree of an expression, whose depth the parser has bounded.
pub(super) fn tree(expression: &Expr) -> Value {
    match expression {
        Expr::Aggregate(aggregate) => json!({
            "type": "aggregation", "op": aggregate.op.to_string(), "expr": tree(&aggregate.expr),
            "param": aggregate.param.as_deref().map(tree),
            "grouping": aggregate.modifier.as_ref().map_or(&[][..], |modifier| &modifier.labels().labels[..]),
            "without": matches!(aggregate.modifier, Some(LabelModifier::Exclude(_))),
        }),
        Expr::Unary(unary) => json!({"type": "unaryExpr", "op": "-", "expr": tree(&unary.expr)}),
        Expr::Binary(binary) => json!({
            "type": "binaryExpr", "op": binary.op.to_string(), "lhs": tree(&binary.lhs),
            "rhs": tree(&binary.rhs), "matching": matching(binary).map(matching_tree), "bool": binary.return_bool(),
        }),
        Expr::Paren(paren) => json!({"type": "parenExpr", "expr": tree(&paren.expr)}),
        Expr::Subquery(subquery) => subquery_tree(subquery),
        Expr::NumberLiteral(number) => json!({"type": "numberLiteral", "val": format_value(number.val)}),
        Expr::StringLiteral(text) => json!({"type": "stringLiteral", "val": text.val}),
        Expr::VectorSelector(selector) => selector_tree("vectorSelector", selector),
        Expr::MatrixSelector(matrix) => {
            let mut tree = selector_tree("matrixSelector", &matrix.vs);
            tree["range"] = millis(matrix.range).into();
            tree
        }
        Expr::Call(call) => call_tree(call),
        Expr::Extension(_) => Value::Null, // the parser makes none
    }
}

fn call_tree(call: &Call) -> Value {
    let function = &call.func;
    let types: Vec<_> = function.arg_types.iter().map(ToString::to_string).collect();
    json!({
        "type": "call",
        "func": {
            "name": function.name, "argTypes": types, "variadic": function.variadic,
            "returnType": function.return_type.to_string(),
        },
        "args": call.args.args.iter().map(|arg| tree(arg)).collect::<Vec<_>>(),
    })
}

fn subquery_tree(subquery: &SubqueryExpr) -> Value {
    let (timestamp, start_or_end) = at(subquery.at.as_ref());
    json!({
        "type": "subquery", "expr": tree(&subquery.expr), "range": millis(subquery.range),
        "step": millis(subquery.step.unwrap_or(Duration::ZERO)),
        "offset": offset_millis(subquery.offset.as_ref()),
        "timestamp": timestamp, "startOrEnd": start_or_end, "alignEvalTime": false,
    })
}

fn selector_tree(kind: &str, selector: &VectorSelector) -> Value {
    let (timestamp, start_or_end) = at(selector.at.as_ref());
    json!({
        "type": kind, "name": selector.name.as_deref().unwrap_or_default(), "matchers": matchers(selector),
        "offset": offset_millis(selector.offset.as_ref()),
        "timestamp": timestamp, "startOrEnd": start_or_end, "anchored": false, "smoothed": false,
    })
}

/// The conditions in braces, and last the name before them.
fn matchers(selector: &VectorSelector) -> Vec<Value> {
    let in_braces = |matcher: &Matcher| json!({"name": matcher.name, "value": matcher.value, "type": matcher.op.to_string()});
    let name = selector.name.as_ref().map(|name| json!({"name": NAME, "value": name, "type": "="}));
    selector.matchers.matchers.iter().map(in_braces).chain(name).collect()
}

/// The instant of an `@`, or which end of the range it names.
fn at(at: Option<&AtModifier>) -> (Option<i64>, Option<&'static str>) {
    match at {
        Some(AtModifier::Start) => (None, Some("start")),
        Some(AtModifier::End) => (None, Some("end")),
        Some(AtModifier::At(time)) => (Some(unix_millis(*time)), None),
        None => (None, None),
    }
}

/// How two vectors are matched; `None` unless there are two.
pub(super) fn matching(binary: &BinaryExpr) -> Option<BinModifier> {
    let are_vectors = [&binary.lhs, &binary.rhs].iter().all(|side| side.value_type() == ValueType::Vector);
    are_vectors.then(|| binary.modifier.clone().unwrap_or_default())
}

fn matching_tree(matching: BinModifier) -> Value {
    let card = match matching.card {
        VectorMatchCardinality::OneToOne => "one-to-one",
        VectorMatchCardinality::ManyToOne(_) => "many-to-one",
        VectorMatchCardinality::OneToMany(_) => "one-to-many",
        VectorMatchCardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card, "on": matching.is_matching_on(),
        "labels": matching.matching.as_ref().map_or(&[][..], |labels| &labels.labels().labels[..]),
        "include": matching.card.labels().map_or(&[][..], |include| &include.labels[..]),
        "fillValues": {"lhs": matching.fill_values.lhs, "rhs": matching.fill_values.rhs},
    })
}

#[cfg(test)]
mod tests {
    use super::super::query::parse_query;
    use super::*;

    fn parsed(query: &str) -> Value {
        parse_query(query).unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    fn selector(name: &str) -> Value {
        json!({
            "type": "vectorSelector", "name": name, "offset": 0, "timestamp": null, "startOrEnd": null,
            "matchers": [{"name": "__name__", "type": "=", "value": name}],
            "anchored": false, "smoothed": false,
        })
    }

    fn number(val: &str) -> Value {
        json!({"type": "numberLiteral", "val": val})
    }

    #[test]
    fn selectors_have_their_name_as_the_last_condition() {
        let matcher = |name, kind, value| json!({"name": name, "type": kind, "value": value});
        let tree = parsed(r#"up{job="a",x!="b",y=~"c.*",z!~"d"} offset -5m"#);
        let [job, x] = [matcher("job", "=", "a"), matcher("x", "!=", "b")];
        let [y, z] = [matcher("y", "=~", "c.*"), matcher("z", "!~", "d")];
        assert_eq!(tree["matchers"], json!([job, x, y, z, matcher("__name__", "=", "up")]));
        assert_eq!((&tree["name"], &tree["offset"]), (&json!("up"), &json!(-300_000)));
        let tree = parsed(r#"{job="a"}"#);
        assert_eq!((&tree["name"], &tree["matchers"]), (&json!(""), &json!([job])));
        assert_eq!(parsed("up"), selector("up"));
    }

    #[test]
    fn ranges_and_subqueries_are_told_in_milliseconds() {
        let mut range = selector("x");
        (range["type"], range["range"], range["timestamp"]) =
            (json!("matrixSelector"), json!(300_000), json!(-5_000));
        assert_eq!(parsed("x[5m] @ -5"), range);
        let subquery = |step: i64, end: Value| {
            json!({
                "type": "subquery", "expr": selector("x"), "range": 3_600_000, "step": step, "offset": 1_500,
                "timestamp": null, "startOrEnd": end, "alignEvalTime": false,
            })
        };
        assert_eq!(parsed("x[1h:] offset 1s500ms"), subquery(0, Value::Null));
        assert_eq!(parsed("x[1h:1m] @ end() offset 1s500ms"), subquery(60_000, json!("end")));
    }

    #[test]
    fn two_vectors_say_how_they_are_matched() {
        let matching = |card: &str, on: bool, labels: &[&str], include: &[&str]| {
            json!({
                "card": card, "on": on, "labels": labels, "include": include,
                "fillValues": {"lhs": null, "rhs": null},
            })
        };
        for (query, expected) in [
            ("a + b", matching("one-to-one", false, &[], &[])),
            ("a and on() b", matching("many-to-many", true, &[], &[])),
            ("a or b", matching("many-to-many", false, &[], &[])),
            ("a * on(x) group_left(y, z) b", matching("many-to-one", true, &["x"], &["y", "z"])),
            ("a * ignoring(x) group_right b", matching("one-to-many", false, &["x"], &[])),
            ("a > bool 1", Value::Null),
            ("1 > bool 2", Value::Null),
        ] {
            assert_eq!(parsed(query)["matching"], expected, "{query}");
        }
        let tree = parsed("a > bool +Inf");
        let expected = json!({
            "type": "binaryExpr", "op": ">", "lhs": selector("a"), "rhs": number("+Inf"), "matching": null,
            "bool": true,
        });
        assert_eq!(tree, expected);
    }

    #[test]
    fn calls_and_aggregations_have_their_arguments() {
        let function = json!({
            "name": "round", "argTypes": ["vector", "scalar"], "variadic": 1, "returnType": "vector",
        });
        let round = json!({"type": "call", "func": function, "args": [selector("x"), number("0.00001")]});
        assert_eq!(parsed("round(x, 1e-5)"), round);
        let sum = |grouping: &[&str], without: bool| {
            json!({
                "type": "aggregation", "op": "sum", "expr": selector("x"), "param": null,
                "grouping": grouping, "without": without,
            })
        };
        assert_eq!(parsed("sum(x)"), sum(&[], false));
        assert_eq!(parsed("sum(x) by (a, b)"), sum(&["a", "b"], false));
        assert_eq!(parsed("SUM without () (x)"), sum(&[], true));
        let negative =
            json!({"type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": number("1")}});
        assert_eq!(parsed("-(1)"), negative);
        let values = parsed(r#"count_values("v", x)"#);
        assert_eq!(values["param"], json!({"type": "stringLiteral", "val": "v"}));
    }
}
