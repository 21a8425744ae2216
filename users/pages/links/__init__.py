"""The pages behind the links that people are handed. Opening one changes nothing: mail scanners open every link."""
