//! 5000 to 5999: manifests, their lint, rendering and judging without a server.

super::error_codes! { ENTRIES_KUBERNETES;
    UNREADABLE 5001 BadInput "the file can't be read"
        "The file is missing, too large, or neither YAML nor JSON."
        "Check the path and the permissions of the file, or fix the marked place.";
    KEY_NOT_TEXT 5002 BadInput "a key that YAML does not read as text"
        "Without quotes YAML reads `on`, `yes`, `y`, `0x10` and the like as truth values and numbers, also as keys; the object gets another key than the one that is written."
        "Put the key in quotes.";
    NO_KIND 5010 BadInput "not an object of a known kind"
        "A document of a set of manifests does not say what it is, or is the input of another tool."
        "Write `apiVersion` and `kind`, or leave the file out.";
    NO_NAME 5011 BadInput "no name"
        "An object is found and changed by its name; without one each deploy would make another."
        "Write `metadata: { name: … }`.";
    OBJECT_TWICE 5012 BadInput "two objects of one name"
        "An API server holds one object of a kind, namespace and name; the later one would overwrite the other."
        "Remove or rename one of the two.";
    OTHER_NAMESPACE 5013 BadInput "wrong namespace"
        "A target is one namespace of a cluster, and an object names another one, or is of a kind that has none."
        "Remove `namespace` from the object; it goes to the target's.";
    BAD_OBJECT_NAME 5014 BadInput "not a name of this kind"
        "Kubernetes has rules for names, and refuses the object."
        "Choose a name that keeps the rule in the message.";
    UNRENDERED 5015 BadInput "template not rendered"
        "A placeholder of a template is where Kubernetes wants the text itself."
        "Render the chart or template first, and use its result.";
    NOT_TEXT 5016 BadInput "not a text"
        "A number, truth value or map is where Kubernetes takes texts alone; YAML reads `yes` and `8080` as such without quotes."
        "Put the value in quotes.";
    BAD_LABEL 5017 BadInput "not a label"
        "Kubernetes has rules for keys and values of labels, and refuses the object."
        "Use at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.";
    LIST_KEY_TWICE 5020 BadInput "list with a key twice"
        "Items of this list are distinguished by a key; server-side apply refuses a list with two items of one key."
        "Remove or rename one of the two.";
    VOLUME_MISSING 5021 BadInput "mount without volume"
        "A container mounts a volume that its pod does not have."
        "Add the volume, or correct the name.";
    OBJECT_FIELD_UNKNOWN 5022 BadInput "a field that the kind does not have"
        "Server-side apply refuses an object with a field that the schema of its kind does not declare. Fields of Kubernetes 1.33 to 1.37 are known."
        "Correct the name, or move the field to where it belongs.";
    OBJECT_FIELD_TYPE 5023 BadInput "a value of the wrong type"
        "The schema of Kubernetes declares a type for each field, and server-side apply refuses a value of another type."
        "Write the value as the message says; quotes make a text of a number.";
    NULL_VALUE 5024 BadInput "a key or item without a value"
        "A null in a map of texts is refused by clients that validate and becomes an empty text on a server, which no one means; a null in a list is refused by server-side apply where it merges the list."
        "Write the value, or remove the key.";
    LIST_KEY_MISSING 5025 BadInput "a list item without its key"
        "Server-side apply merges this list by a key of its items, and refuses an item that does not have it."
        "Write the field that the message names.";
    OBJECT_FIELD_MISSING 5026 BadInput "a field that is not there"
        "A server refuses an object of this kind without the field, in every release from Kubernetes 1.33 to 1.37."
        "Write the field that the message names.";
    OBJECT_FIELD_VALUE 5027 BadInput "a value that the field can't have"
        "The value has the right type, but a server refuses it: it is none of the words of the field, outside of its bounds, or does not fit the fields beside it."
        "Write a value as the message says.";
    OBJECT_ENCRYPTED 5028 BadInput "an encrypted object"
        "The file is encrypted with SOPS. A server has no field `sops` and refuses the object as it is."
        "Decrypt the file before the deploy, as in `sops --decrypt secret.yaml | trimaran lint -`, or bring the Secret by other means.";
    OBJECT_TOO_LARGE 5030 BadInput "object too large"
        "An API server takes objects of up to 1.5 MiB, ConfigMaps and Secrets of up to 1 MiB of data, and annotations of up to 256 KiB."
        "Split it, or keep the data elsewhere.";
    BAD_BASE64 5031 BadInput "not base64"
        "Values under `data` of a Secret and `binaryData` of a ConfigMap are base64."
        "Encode the value, or write it as text in `stringData` or `data`.";
    BAD_CONFIG_KEY 5032 BadInput "not a key of a ConfigMap or Secret"
        "Keys become file names and variables, so Kubernetes restricts them."
        "Use at most 253 letters, digits, `-`, `_` and `.`.";
    CONFIG_KEY_MISSING 5033 BadInput "key that the configuration does not have"
        "An object refers to a key of a ConfigMap or Secret of the set, which has no such key; the pod would never start."
        "Add the key, correct its name, or mark the reference `optional: true`.";
    CONFIG_UNREFERENCED 5034 BadInput "nothing refers to the configuration"
        "A ConfigMap or Secret is renamed by its content, but no object of the set is known to use it."
        "Remove it, or let it keep its name with the annotation `trimaran.dev/versioned: \"false\"`.";
    CONFIG_NOT_VERSIONED 5035 BadInput "configuration that keeps its name"
        "A controller finds or writes this object by its name, so it is not versioned."
        "Set the annotation `trimaran.dev/versioned: \"false\"` to say that this is meant.";
    CONFIG_OTHER_NAMESPACE 5036 BadInput "reference whose namespace is not known"
        "Only references within one namespace are rewritten, and one of the two objects does not say which it is in."
        "Use `--namespace`, or write the namespace in both objects.";
    CONFIG_REFERENCE_KEPT 5037 BadInput "a renamed object is still referred to by its old name"
        "A ConfigMap or Secret is renamed by its content, but an object of the set keeps the old name in a field that Trimaran does not know as a reference; no object of that name will exist."
        "Set the annotation `trimaran.dev/versioned: \"false\"` on the ConfigMap or Secret, so that it keeps its name.";
    SELECTOR 5040 BadInput "selector that does not fit"
        "A workload has to select the pods of its own template, and an API server refuses it otherwise."
        "Set the labels of the selector in the pod template.";
    IMMUTABLE 5041 BadInput "a field that can never change will"
        "Kubernetes refuses changes of this field, and it is made of something that changes between versions."
        "Keep what changes out of the field.";
    ROLLOUT_STUCK 5042 BadInput "a rollout that can't move"
        "With these settings no pod can be replaced, or a new pod waits for what the old one holds."
        "Follow the help of the message.";
    DISRUPTION_BLOCKED 5043 BadInput "a budget that allows no disruption"
        "Nodes can't be drained while the budget forbids every eviction."
        "Allow at least one pod to be unavailable.";
    REPLICAS_SCALED 5044 BadInput "two owners of the number of replicas"
        "An autoscaler of the set decides how many replicas there are, and each deploy would set them back."
        "Remove `replicas` from the workload.";
    API_REMOVED 5050 BadInput "API version that was removed"
        "Servers of this release and later don't know the version and refuse the object."
        "Move to the version that the message names.";
    SERVER_FIELD 5051 BadInput "fields that a server writes"
        "The file was read from a cluster; such fields mean nothing in a file, and some of them make an apply fail."
        "Remove them.";
}
