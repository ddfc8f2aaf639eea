//! 1000 to 1999: pipeline files and their lint.

super::error_codes! { ENTRIES_SPEC;
    NOT_YAML 1001 BadInput "not valid YAML"
        "The file can't be read as YAML; what comes after the marked place was not checked."
        "Fix the marked line; usually it is indentation or quotes.";
    TAB 1002 BadInput "tab used for indentation"
        "YAML does not allow tabs before a value."
        "Indent with spaces.";
    DUPLICATE_KEY 1003 BadInput "duplicate key"
        "A map has the same key twice; the meaning would depend on the reader."
        "Remove one of the two.";
    UNKNOWN_KEY 1004 BadInput "unknown key"
        "The key is not part of the language at this place; it is never passed on silently."
        "Check the keys that are known there.";
    WRONG_TYPE 1005 BadInput "wrong type"
        "A list, a map or a text is where another of them belongs."
        "Write a list as [a, b], a map as { key: value }, a text as it is; the message says which.";
    MISSING_KEY 1006 BadInput "missing key"
        "A key without which the document has no meaning is not there."
        "Add the key.";
    EXACTLY_ONE 1007 BadInput "exactly one is allowed"
        "Several keys exclude each other."
        "Keep one of them.";
    BAD_VERSION 1008 BadInput "unknown version of the language"
        "The document starts with a version that this program does not know."
        "Write `trimaran: v1`, or use a newer program.";
    BAD_DURATION 1009 BadInput "not a duration"
        "A duration is written in a form that is not known."
        "Write it like 500ms, 90s, 10m, 1h30m or 3d.";
    BAD_AMOUNT 1010 BadInput "not a count or percentage"
        "A number is written in a form that is not known, or is out of its range."
        "Write it like 3 or 25%.";
    OVER_LIMIT 1011 BadInput "over a limit of size, depth or aliases"
        "The file is larger or deeper than any reviewed file, or its aliases repeat too much."
        "Make it smaller.";
    BAD_CHOICE 1013 BadInput "not one of the known words"
        "The value has to be one of a list of words."
        "Use one of the words that the message names.";
    BAD_NAME 1014 BadInput "not a name"
        "Names have 1 to 63 lower-case letters, digits, `-`, `_` and `.`, and start and end with a letter or digit."
        "Choose such a name.";
    BAD_URL 1015 BadInput "not a URL of the right kind"
        "The place of an artifact or probe is written in a form that is not known."
        "Write it in the form that the message shows.";
    BAD_DIGEST 1016 BadInput "not a digest"
        "A sha256 digest has 64 hexadecimal digits."
        "Copy it from `sha256sum FILE`.";
    NOT_YET 1017 BadInput "not part of this version"
        "The language has this, but this version of Trimaran does not support it yet."
        "Remove it; ignoring it silently would be worse.";
    DOCUMENT_TWICE 1018 BadInput "two documents of one name"
        "The same pipeline or target is defined twice."
        "Remove or rename one of the two.";
    TOO_LARGE 1019 BadInput "file too large"
        "A file over 1 MiB is refused before it is read."
        "Split it.";
    TAG 1020 BadInput "tag"
        "YAML tags such as `!!str` change what a value means; the language has its own types instead."
        "Remove the tag; every value is read by the type that is expected at its place.";
    VARIABLE_NAME 1021 BadInput "not a variable that may be set"
        "Names of environment variables have no `=` and no white space, and five of them are set by Trimaran itself."
        "Choose another name.";
    EMPTY_DOCUMENT 1022 BadInput "empty document"
        "A document starts with `trimaran: v1`; a file or a part between `---` lines without any key is most often a slip."
        "Write the document, or remove the line `---`.";
    SELF_ALIAS 1023 BadInput "alias inside of its own anchor"
        "The value would contain itself without end."
        "Write the value out.";
    ARTIFACT_USE 1105 BadInput "artifact not declared or not used"
        "The names under `artifacts` and in the workload do not match."
        "Declare what is used and use what is declared.";
    ARTIFACT_VERSION 1106 BadInput "no place for the version"
        "The place of an artifact needs exactly one `{version}`."
        "Write `{version}` where the version belongs.";
    ARTIFACT_KIND 1107 BadInput "artifact of the wrong kind"
        "A host or a job unpacks or runs a file, a container runs an image; the artifact is the other of the two."
        "Declare the artifact with `file:` or `path:`, or with `image:`.";
    ENVIRONMENT_TWICE 1201 BadInput "two environments of one name"
        "Environments are distinguished by their names."
        "Rename one of the two.";
    CYCLE 1202 BadInput "environments wait for each other"
        "Following `after` leads back to the same environment, so none of them could start."
        "Remove one of the names.";
    ENVIRONMENT_UNKNOWN 1203 BadInput "unknown environment"
        "`after` names an environment that the pipeline does not have."
        "Name an environment of this pipeline.";
    TARGET_NAME 1204 BadInput "unknown target"
        "The pipeline names a target that is neither in these files nor, where a cluster was asked, known to it."
        "Name one of them, or add its document.";
    TARGET_OTHER 1205 BadInput "target of another platform"
        "The pipeline's workload can't run on the platform of this target."
        "Name a target of the workload's platform.";
    TARGET_TWICE 1206 BadInput "target named twice"
        "An environment deploys to each of its targets once."
        "Remove one of the two.";
    EMPTY_SELECT 1207 BadInput "empty selection"
        "A target without labels would select every host."
        "Name at least one label.";
    PROD_APPROVE 1303 BadInput "prod without an approval"
        "A prod environment starts without asking anyone."
        "Add `approve`, or accept the warning.";
    APPROVE_OPTIONS 1308 BadInput "an approval that can't let anything through"
        "Without the option `promote`, or without any time to choose, the environment could never start."
        "Add `promote`, or a longer `timeout`.";
    REQUIRE_USER 1311 BadInput "process without a user"
        "The target demands that every process says as whom it runs."
        "Add `user` to `workload.host.process`.";
    RUNS_AS_ROOT 1312 BadInput "process of the runner's user"
        "Without `user` a process on hosts runs as its runner's user, which is root on most hosts."
        "Add `user` to `workload.host.process`, or accept the warning.";
    SIZES 1401 BadInput "sizes of waves do not grow"
        "Sizes count all hosts since the start, so each one is larger than the one before."
        "Sort them.";
    SIZES_END 1501 BadInput "sizes do not end with 100%"
        "Hosts would be left on the old release."
        "Add `100%` as the last size.";
    BUDGET 1502 BadInput "impossible budget"
        "With this budget the rollout could never move, or never be stopped."
        "Choose a budget between.";
    HEALTH_DEADLINE 1503 BadInput "health deadline too short"
        "A host has to be healthy for `min_healthy` before `deadline` is over."
        "Make `deadline` longer than `min_healthy`.";
    COMMAND_LIST 1505 BadInput "command is not a list"
        "Commands are lists of words; there is no shell that would split a text."
        "Write it like [bin/web, \"--port\", \"8080\"].";
    HEALTH_INTERVAL 1507 BadInput "health interval too long"
        "With an interval as long as the deadline no second probe would ever be made in time."
        "Make `interval` shorter than `deadline`.";
    STATE_DROPPED 1602 BadInput "state may be dropped"
        "With `allow_non_restored_state`, or with an upgrade or stop that is stateless, a release may lose state that no rollback brings back."
        "Accept the warning when the state is not needed, or choose `savepoint`.";
    CACHED_FILES 1603 BadInput "files of a job in two places"
        "`files` of a job on Flink is passed on as `pipeline.cached-files`; where `config` has that key too, one would replace the other."
        "Keep one of the two.";
    FILE_SECRET 1604 BadInput "a secret among the files of a job"
        "Files of a job lie in the blob store of its cluster, where every other job can read them."
        "Let the program fetch the secret itself.";
    FILE_MISSING 1605 BadInput "a file of a job is not there"
        "`files` of a job on Flink names a path at which there is no file that can be read."
        "Correct the path: it is relative to the pipeline's file. Or declare an artifact of that name.";
    FILE_LARGE 1606 BadInput "a file of a job is too large"
        "A file that is shipped with a job has at most 1 MiB: it is stored with the release."
        "Keep it in the jar, or let the program fetch it.";
    EXPRESSION 1701 BadInput "expressions are not part of this version"
        "`${{ }}` is never passed on as text."
        "Write the value itself.";
}
