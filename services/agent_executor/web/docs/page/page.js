// Shows the document of this very gateway. Everything that would ask another host is off; the
// Content-Security-Policy of the page would refuse it as well.
Scalar.createApiReference("#viewer", {
  url: "/openapi.json",
  telemetry: false,
  withDefaultFonts: false,
  hideClientButton: true,
  showDeveloperTools: "never",
  agent: { disabled: true },
  mcp: { disabled: true },
  // In the order of the contracts, which puts together what belongs together.
  orderSchemaPropertiesBy: "preserve",
  // A token that somebody pastes here lives as long as the page.
  persistAuth: false,
  authentication: { preferredSecurityScheme: "bearer" },
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
});
