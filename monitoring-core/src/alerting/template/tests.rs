use super::*;

fn labels() -> Labels {
    [("instance", "db-1.example.com:9187"), ("job", "postgres")].into_iter().collect()
}

fn sample(instance: &str, value: f64) -> TemplateSample {
    TemplateSample { labels: [("__name__", "up"), ("instance", instance)].into_iter().collect(), value }
}

fn expanded(text: &str) -> Result<String, TemplateError> {
    let mut answers = Answers::default();
    answers.insert("up".to_owned(), Ok(vec![sample("b", 11.0), sample("a", 21.0)]));
    answers.insert("unknown".to_owned(), Ok(vec![sample("c", f64::NAN)]));
    answers.insert("nothing".to_owned(), Ok(vec![]));
    answers.insert("broken(".to_owned(), Err("parse error".to_owned()));
    let external_labels = [("region", "eu")].into_iter().collect();
    let data = TemplateData {
        labels: &labels(),
        external_labels: &external_labels,
        external_url: "https://shop.example.com/monitoring",
        value: 1234.5,
        now: DateTime::from_timestamp_millis(1_435_065_584_128).unwrap(),
    };
    expand(text, data, &answers, &mut Steps::within(usize::MAX))
}

fn assert_expanded(cases: &[(&str, &str)]) {
    for (text, shown) in cases {
        assert_eq!(expanded(text).as_deref(), Ok(*shown), "{text}");
    }
}

#[test]
fn values_and_labels() {
    assert_expanded(&[
        ("plain } text {", "plain } text {"),
        ("{{ $labels.job }} at {{ $value }}", "postgres at 1234.5"),
        ("{{ .Labels.job }} at {{ .Value }}", "postgres at 1234.5"),
        ("[{{ $labels.missing }}]", "[]"),
        (
            "{{ $externalLabels.region }} {{ $externalURL }} {{ pathPrefix }}",
            "eu https://shop.example.com/monitoring /monitoring",
        ),
        ("{{ index $labels \"job\" }}", "postgres"),
        ("{{ $labels }}", "map[instance:db-1.example.com:9187 job:postgres]"),
        ("{{ \"a\\tb\" }}{{ `c\\d` }}", "a\tbc\\d"),
        ("{{ 1e3 }} {{ 0x10 }} {{ true }} {{ nil }}", "1000 16 true <no value>"),
    ]);
}

#[test]
fn spaces_and_comments() {
    assert_expanded(&[
        ("a {{- /* nothing */ -}} b", "ab"),
        ("a {{/* nothing */}} b", "a  b"),
        ("a  {{- 1 -}}  b", "a1b"),
        ("{{-1}}", "-1"),
        ("{{ $x := 1 -}}\n {{ $x }}", "1"),
    ]);
}

/// As `promtool` shows them.
#[test]
fn what_is_no_number_exceeds_everything() {
    for (function, shown) in
        [("lt", false), ("le", false), ("gt", true), ("ge", true), ("eq", false), ("ne", true)]
    {
        let text = format!("{{{{ {function} (query \"unknown\" | first | value) 1.5 }}}}");
        assert_eq!(expanded(&text), Ok(shown.to_string()), "{text}");
    }
}

#[test]
fn branches_and_loops() {
    assert_expanded(&[
        ("{{ if gt $value 1000.0 }}high{{ else if gt $value 100.0 }}middle{{ else }}low{{ end }}", "high"),
        ("{{ if eq $labels.job \"mysql\" \"postgres\" }}database{{ end }}", "database"),
        ("{{ if and $labels.job (not $labels.missing) }}yes{{ end }}", "yes"),
        ("{{ if or $labels.missing $labels.other }}yes{{ else }}no{{ end }}", "no"),
        ("{{ with query \"up\" }}{{ . | first | value }}{{ end }}", "11"),
        ("{{ with query \"nothing\" }}some{{ else }}none{{ end }}", "none"),
        ("{{ range query \"up\" }}{{ .Labels.instance }}={{ .Value }};{{ end }}", "b=11;a=21;"),
        ("{{ range $i, $s := query \"up\" }}{{ $i }}:{{ $s.Labels.instance }} {{ end }}", "0:b 1:a "),
        ("{{ range query \"nothing\" }}x{{ else }}empty{{ end }}", "empty"),
        ("{{ range query \"up\" }}{{ break }}x{{ end }}y", "y"),
        ("{{ range query \"up\" }}{{ if eq .Value 11.0 }}{{ continue }}{{ end }}{{ .Value }}{{ end }}", "21"),
        ("{{ $n := 0 }}{{ range query \"up\" }}{{ $n = .Value }}{{ end }}{{ $n }}", "21"),
        ("{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ("{{ range $name, $value := $labels }}{{ $name }} {{ end }}", "instance job "),
    ]);
}

#[test]
fn results_of_queries() {
    assert_expanded(&[
        ("{{ query \"up\" | first | value | humanize }}", "11"),
        ("{{ (query \"up\" | first).Value }}", "11"),
        ("{{ query \"up\" | sortByLabel \"instance\" | first | label \"instance\" }}", "a"),
        ("{{ len (query \"up\") }}", "2"),
        ("{{ (index (query \"up\") 1).Labels.instance }}", "a"),
        ("{{ printf \"%s\" \"up\" | query | first | value }}", "11"),
    ]);
    assert_eq!(
        expanded("{{ query \"nothing\" | first }}"),
        Err(TemplateError::execution("first() called on vector with no elements"))
    );
    assert_eq!(
        expanded("{{ printf `up{job=%q}` $labels.job | query }}"),
        Err(TemplateError::Unanswered { query: "up{job=\"postgres\"}".to_owned() })
    );
    assert!(expanded("{{ query \"broken(\" }}").unwrap_err().to_string().contains("parse error"));
}

#[test]
fn numbers_for_people() {
    assert_expanded(&[
        ("{{ humanize 0.0 }} {{ humanize 1234567.0 }} {{ humanize 0.0234 }}", "0 1.235M 23.4m"),
        ("{{ humanize1024 1048576.0 }} {{ humanize1024 0.5 }}", "1Mi 0.5"),
        ("{{ humanizeDuration 0 }} {{ humanizeDuration 1 }} {{ humanizeDuration 60 }}", "0s 1s 1m 0s"),
        ("{{ humanizeDuration 3661 }} {{ humanizeDuration 90061 }}", "1h 1m 1s 1d 1h 1m 1s"),
        (
            "{{ humanizeDuration -1.5 }} {{ humanizeDuration 0.25 }} {{ humanizeDuration \"12.34567\" }}",
            "-1.5s 250ms 12.35s",
        ),
        ("{{ humanizePercentage 0.1234567 }} {{ humanizePercentage 1 }}", "12.35% 100%"),
        ("{{ humanizeTimestamp 1435065584.128 }}", "2015-06-23 13:19:44.128 +0000 UTC"),
        (
            "{{ $value | printf \"%.1f\" }} {{ printf \"%08.3f|%-6s|%+d\" 3.14159 \"ab\" 7 }}",
            "1234.5 0003.142|ab    |+7",
        ),
        ("{{ printf \"%d %s\" 1.5 }}", "%!d(float64=1.5) %!s(MISSING)"),
        ("{{ printf \"%v%%\" $value }}", "1234.5%"),
    ]);
}

#[test]
fn texts() {
    assert_expanded(&[
        ("{{ title \"disk full\" }} {{ toUpper \"a\" }} {{ toLower \"B\" }}", "Disk Full A b"),
        ("{{ reReplaceAll \"(.*):.*\" \"$1\" $labels.instance }}", "db-1.example.com"),
        ("{{ stripPort $labels.instance }} {{ stripDomain $labels.instance }}", "db-1.example.com db-1:9187"),
        ("{{ if match \"^db\" $labels.instance }}db{{ end }}", "db"),
        ("{{ graphLink \"up == 0\" }}", "/graph?g0.expr=up+%3D%3D+0&g0.tab=0"),
        ("{{ html \"<a>\" }} {{ urlquery \"a b\" }} {{ slice \"abcd\" 1 3 }}", "&lt;a&gt; a+b bc"),
        ("{{ parseDuration \"1h\" }} {{ print 1 2 \"x\" 3 }}", "3600 1 2x3"),
        ("{{ urlQueryEscape \"a b&c=ü/~\" }}", "a+b%26c%3D%C3%BC%2F~"),
        ("{{ define \"who\" }}<{{ .arg0 }}>{{ end }}{{ template \"who\" (args $labels.job) }}", "<postgres>"),
    ]);
}

#[test]
fn now_is_the_time_of_the_evaluation() {
    assert_expanded(&[
        ("{{ now }}", "1.435065584128e+09"),
        (
            "{{ now | toTime }} {{ humanizeTimestamp now }}",
            &["2015-06-23 13:19:44.128 +0000 UTC"; 2].join(" "),
        ),
        ("{{ if gt now 1e9 }}late{{ end }}", "late"),
    ]);
}

#[test]
fn a_block_is_defined_and_called_where_it_stands() {
    assert_expanded(&[
        ("{{ block \"who\" .Labels }}<{{ .job }}>{{ end }}", "<postgres>"),
        ("{{ if true }}{{ block \"who\" 1 }}{{ . }}{{ end }}{{ end }}{{ template \"who\" 2 }}", "12"),
        ("{{ range query \"up\" }}{{ block \"one\" .Value }}{{ . }};{{ end }}{{ end }}", "11;21;"),
    ]);
}

#[test]
fn what_is_no_template_says_where_it_is_wrong() {
    let cases = [
        ("a\n{{ $labels.job ", 2, "not closed"),
        ("{{ nofunction 1 }}", 1, "function \"nofunction\" not defined"),
        ("{{ tmpl \"x\" . }}", 1, "function \"tmpl\" not defined"),
        ("{{ $unknown }}", 1, "undefined variable \"$unknown\""),
        ("{{ if true }}", 1, "not closed by {{end}}"),
        ("{{ end }}", 1, "unexpected {{end}}"),
        ("{{ }}", 1, "missing value"),
        ("{{ \"open }}", 1, "a string is not closed"),
        ("{{ ( 1 }}", 1, "parenthesis"),
        ("{{ block \"x\" }}{{ end }}", 1, "missing value"),
        ("{{ block \"x\" . }}", 1, "not closed by {{end}}"),
        ("{{ block \"x\" . }}{{ $value }}{{ end }}", 1, "undefined variable \"$value\""),
    ];
    for (text, line, part) in cases {
        match check(text) {
            Err(TemplateError::Syntax { line: found, message }) => {
                assert_eq!(found, line, "{text}");
                assert!(message.contains(part), "{text}: {message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_expanded_says_why() {
    let cases = [
        ("{{ eq $value 1 }}", "incompatible types"),
        ("{{ $value.field }}", "can't evaluate field"),
        ("{{ humanize \"many\" }}", "can't convert"),
        ("{{ toUpper 1 }}", "expected string"),
        ("{{ humanize 1 2 }}", "wrong number of args"),
        ("{{ template \"missing\" }}", "not defined"),
        ("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}", "calls of templates"),
        ("{{ reReplaceAll \"(\" \"\" \"\" }}", "regex"),
    ];
    for (text, part) in cases {
        let error = expanded(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = "{{ ".to_owned() + &"(".repeat(10_000) + "1" + &")".repeat(10_000) + " }}";
    assert!(matches!(check(&deep), Err(TemplateError::Syntax { .. })));
    let long = "{{ range query \"up\" }}".repeat(90)
        + "{{ range query \"up\" }}x{{ end }}"
        + &"{{ end }}".repeat(90);
    assert!(matches!(expanded(&long), Err(TemplateError::Execution(_))));
}

#[test]
fn no_template_takes_more_than_it_should() {
    let doubled = "{{ $x := \"aaaaaaaa\" }}".to_owned() + &"{{ $x = print $x $x }}".repeat(40);
    let mapped = "{{ $x := args 1 }}".to_owned() + &"{{ $x = args $x $x }}".repeat(40);
    let replaced = "{{ $x := printf \"%1000s\" \"\" }}{{ $x = print $x $x $x $x $x $x $x $x }}\
        {{ reReplaceAll \"\" $x $x }}";
    let patterns: String = (0..300).map(|n| format!("{{{{ match \"{n}\" \"\" }}}}")).collect();
    let nested = "{{ if true }}".repeat(95);
    let nested = format!(
        "{{{{ define \"x\" }}}}{nested}{{{{ template \"x\" }}}}{}{{{{ end }}}}{{{{ template \"x\" }}}}",
        "{{ end }}".repeat(95)
    );
    for (template, part) in [
        (doubled.as_str(), "the text has more than"),
        (&mapped, "too much memory"),
        (replaced, "the text has more than"),
        (&patterns, "too many steps"),
        (&nested, "in one another"),
    ] {
        let error = expanded(template).unwrap_err().to_string();
        assert!(error.contains(part), "{error}: {}", &template[..80]);
    }
}

#[test]
fn a_long_text_is_read_in_one_go() {
    let many = "{{.}}\n".repeat(100_000);
    assert_eq!(check(&many), Ok(()));
    let Err(TemplateError::Syntax { line, .. }) = check(&(many + "{{ end }}")) else { panic!("no error") };
    assert_eq!(line, 100_001);
}

/// So many characters, in a variable.
fn long_text(pattern: &str, thousands: usize) -> String {
    let eight = "{{ $t = print $t $t $t $t $t $t $t $t }}";
    let text = format!("{{{{ $t := reReplaceAll \" \" \"{pattern}\" (printf \"%1000s\" \"\") }}}}");
    text + if thousands == 8 { eight } else { "" }
}

#[test]
fn a_search_counts_by_the_text_and_the_expression() {
    for (template, part) in [
        (long_text("a", 8) + r#"{{ match "a[ab]{3000}[^a]" $t }}"#, "too many steps"),
        (long_text("a", 8) + r#"{{ reReplaceAll ".*[^A-Za]|[a-z]" "" $t }}"#, "too many steps"),
        (long_text("a", 8) + r#"{{ match "\\w{3000}" $t }}"#, "size limit"),
    ] {
        let error = expanded(&template).unwrap_err().to_string();
        assert!(error.contains(part), "{error}: {template}");
    }
}

#[test]
fn usual_searches_take_few_steps() {
    for (template, length) in [
        (long_text("ab ", 1) + r#"{{ reReplaceAll "\\s+" "-" $t }}"#, 3_000),
        (long_text("a", 1) + r#"{{ match "^\\w+-\\d+$" $t }}"#, "false".len()),
        (long_text("a", 8) + r#"{{ reReplaceAll "(a+)" "<$1>" $t }}"#, 8_002),
        (long_text("a", 1) + r#"{{ reReplaceAll "[^b]" "-" $t }}"#, 1_000),
    ] {
        assert_eq!(expanded(&template).map(|text| text.len()), Ok(length), "{template}");
    }
}

#[test]
fn steps_of_many_texts_can_be_counted_together() {
    let mut steps = Steps::within(30);
    let (labels, none) = (labels(), Labels::new());
    let (external_url, now) = ("", DateTime::UNIX_EPOCH);
    let data = TemplateData { labels: &labels, external_labels: &none, external_url, value: 1.0, now };
    let text = "{{ $value }}".repeat(10);
    assert_eq!(expand(&text, data, &Answers::default(), &mut steps), Ok("1".repeat(10)));
    let before = steps.left();
    assert!((10..20).contains(&before), "{before}");
    let mut again = || expand(&text, data, &Answers::default(), &mut steps);
    assert_eq!(again().map(|text| text.len()), Ok(10));
    assert_eq!(again(), Err(TemplateError::execution("the template takes too many steps")));
    assert_eq!(steps.left(), 0);
}
