//! A component's variables under each of their interfaces.

use crate::support::fixtures::Fixture;

const CONTENT: &str = r#"
[variables]
application = { default = "value" }

[[trigger.http]]
route = "/5/..."
component = "five"

[[trigger.http]]
route = "/6/..."
component = "six"

[[trigger.http]]
route = "/7/..."
component = "seven"

[component.five]
source = "<spin5>"
variables = { variable = "{{ application }}" }

[component.six]
source = "<sdk6>"
variables = { variable = "{{ application }}" }

[component.seven]
source = "<spin7>"
variables = { variable = "{{ application }}" }
"#;

#[tokio::test]
async fn variables_are_the_same_through_every_interface() {
    let app = Fixture::start(CONTENT);
    for interface in ["7/variables", "6/variables", "5/variables", "5/config-1", "5/config-draft", "5/config"] {
        assert_eq!(app.probe(&format!("{interface}/get/variable"), "").await, "value", "{interface}");
        // The application's own are not the component's.
        let undefined = app.probe(&format!("{interface}/get/application"), "").await;
        let expected = match interface {
            "5/config-draft" | "5/config" => "none",
            "5/config-1" => "Error::Other(",
            _ => "Error::Undefined(",
        };
        assert!(undefined.starts_with(expected), "{interface}: {undefined}");
        for name in ["invalid-name", "invalid!name", "4invalidname"] {
            let invalid = app.probe(&format!("{interface}/get/{name}"), "").await;
            let expected = match interface {
                "5/config-draft" | "5/config" => "Error::Io(",
                "5/config-1" => "Error::InvalidKey(",
                _ => "Error::InvalidName(",
            };
            assert!(invalid.starts_with(expected), "{interface}: {invalid}");
        }
    }
    for interface in ["5/config-draft", "5/config"] {
        assert_eq!(app.probe(&format!("{interface}/all/-"), "").await, r#"[("variable", "value")]"#);
    }
}
