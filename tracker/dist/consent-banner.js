(()=>{var r="consent-refused";var w=`
:host {
  all: initial; position: fixed; inset: auto 0 0 0; z-index: 2147483647; padding: 16px;
  font: 16px/1.5 system-ui, sans-serif; color: #111; pointer-events: none;
}
section {
  display: flex; flex-wrap: wrap; gap: 12px 16px; align-items: center; justify-content: space-between;
  max-width: 720px; margin: 0 auto; padding: 16px 20px; pointer-events: auto;
  background: #fff; border: 1px solid #767676; border-radius: 8px; animation: rise .2s ease-out;
}
p { margin: 0; flex: 1 1 320px; }
a { color: inherit; }
div { display: flex; gap: 12px; flex: 1 1 auto; }
button {
  flex: 1 1 0; min-width: 120px; min-height: 44px; padding: 8px 16px; font: inherit; color: #111;
  background: #f2f2f2; border: 1px solid #767676; border-radius: 6px; cursor: pointer;
}
button:hover { background: #e4e4e4; }
:focus-visible { outline: 3px solid #0b57d0; outline-offset: 2px; }
@keyframes rise { from { transform: translateY(24px); opacity: 0; } }
@media (prefers-reduced-motion: reduce) { section { animation: none; } }
@media (prefers-color-scheme: dark) {
  section, button { background: #1c1c1c; color: #f2f2f2; }
  button:hover { background: #333; }
  :focus-visible { outline-color: #8ab4f8; }
}
`,{text:x="May we count visits to improve this site? Nothing is stored or sent unless you agree.",accept:h="Agree",decline:g="Decline",label:E="Consent to analytics",policy:l,policyText:y="Privacy policy"}=document.currentScript.dataset,o,a=null;function i(e,t){let n=document.createElement(e);return n.textContent=t,n}function u(e,t){let n=i("button",e);return n.type="button",n.addEventListener("click",()=>{window.warehouse.consent(t),v(!t),f()}),n}function p(){if(o)return;o=document.createElement("div");let e=o.attachShadow({mode:"open"}),t=new CSSStyleSheet;t.replaceSync(w),e.adoptedStyleSheets=[t];let n=i("section","");n.setAttribute("aria-label",E);let s=i("p",x+" ");if(l){let d=i("a",y);d.href=l,s.append(d)}let c=i("div","");c.append(u(g,!1),u(h,!0)),n.append(s,c),e.append(n),document.body.prepend(o)}function f(){o?.remove(),o=void 0,a?.focus(),a=null}function v(e){try{e?localStorage.setItem(r,String(Date.now())):localStorage.removeItem(r)}catch{}}function m(){try{return Date.now()-Number(localStorage.getItem(r))<15552e6}catch{return!1}}function b(e){window.warehouse?window.warehouse.consent()===void 0&&(m()?window.warehouse.consent(!1):p()):e&&setTimeout(b,100,e-1)}document.addEventListener("click",e=>{let t=e.target?.closest("[data-consent-open]");!t||!window.warehouse||(e.preventDefault(),p(),a=t,o.shadowRoot.querySelector("button").focus())});addEventListener("storage",()=>{!o||a||(m()&&window.warehouse?.consent(!1),window.warehouse?.consent()!==void 0&&f())});b(100);})();
