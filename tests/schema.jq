# schema.jq - what is wrong with what jq -s has read, by tests/schema.json: strings, none
# where nothing is.  $schema is that file's content, $entry a command in it.
#
# A type is the name of a definition, "null", a list of types of which one must
# do, or an object: "enum"; or "type", with "pattern" or "minimum"; "items" of an
# array; of an object "properties", all of which must be there, "optional" ones,
# and "extends", definitions that are lists of properties.  A field that is in
# none of them is wrong.

def defined($name):
	$schema.definitions[$name] //
	error("schema.json: no definition of \($name)");

def fields($kind):
	([$kind.extends // [] | .[] | defined(.)] | add // {}) +
	($kind.properties // {});

def type_of:
	if type == "number" and . == floor then "integer" else type end;

def faults($kind; $at):
	. as $value |
	if $kind == "null" then
		select($value != null) | "\($at): not null"
	elif ($kind | type) == "string" then
		faults(defined($kind); $at)
	elif ($kind | type) == "array" then
		[$kind[] as $t | [faults($t; $at)]] |
		select(all(.[]; length > 0)) | .[0][]
	elif $kind | has("enum") then
		select($kind.enum | index([$value]) == null) |
		"\($at): \($value | tojson) is none of \($kind.enum | tojson)"
	elif ($value | type_of) != $kind.type then
		"\($at): \($value | tojson) is no \($kind.type)"
	elif $kind.type == "string" then
		select($kind.pattern and ($value | test($kind.pattern) | not)) |
		"\($at): \($value | tojson) is not \($kind.pattern)"
	elif $kind.type == "integer" then
		select($value < ($kind.minimum // $value)) |
		"\($at): \($value) is too small"
	elif $kind.type == "array" then
		range($value | length) as $i |
		$value[$i] | faults($kind.items; "\($at)[\($i)]")
	elif $kind.type == "object" then
		fields($kind) as $must | ($kind.optional // {}) as $may |
		(($must | keys) - ($value | keys) | .[] |
			"\($at): no \(.)"),
		(($value | keys) - ($must + $may | keys) | .[] |
			"\($at): unknown \(.)"),
		(($must + $may) as $all | $value | keys[] |
			select(in($all)) as $k |
			$value[$k] | faults($all[$k]; "\($at).\($k)"))
	else
		empty
	end;

if length != 1 then
	"one value it is not, but \(length)"
else
	.[0] |
	faults($schema.commands[$entry] // error("schema.json: no \($entry)"); "")
end
